-- How much each worker may spend: broker/policy/grants.py once more, which explains every rule; the
-- order of steps, ties and bounds are its own (kept equal by a differential property test).
--
-- A cell is written "pool population"; a space sorts below every character of a name, as the pair does.

local WANTS_IN_HAND, PICKS, PLENTY = 64, 256, 4
local NOTHING = {limit = 0, guaranteed = 0, lendable = 1}

local function pool_of(cell)
  return string.match(cell, '^%S+')
end

-- The document as grants need it: {limit, sync_ms, weights, pools in order, by_name, cells, order}.
local function grant_limits()
  local text = redis.call('GET', K.grant_limits)
  if not text then return nil end
  local row = cjson.decode(text)
  local limits = {limit = row[1], sync_ms = row[2], weights = {}, pools = {}, by_name = {}, cells = {},
    order = {}}
  for _, population in ipairs(row[3]) do limits.weights[population[1]] = population[2] end
  for i, p in ipairs(row[4]) do
    local pool = {name = p[1], limit = p[2], guaranteed = p[3], lendable = p[4], lease = p[5], cells = {}}
    limits.pools[i], limits.by_name[pool.name] = pool, pool
    for j, c in ipairs(p[6]) do
      local cell = {key = pool.name .. ' ' .. c[1], limit = c[2], guaranteed = c[3], lendable = c[4]}
      pool.cells[j], limits.cells[cell.key] = cell, cell
      table.insert(limits.order, cell.key)
    end
  end
  return limits
end

-- Part `own` of `parts`, each {share, held}.
local function room_of(limit, parts, own)
  local share, held = parts[own][1], parts[own][2]
  local free, never_lent, kept = limit, 0, 0
  for i, part in ipairs(parts) do
    local other, holds = part[1], part[2]
    free = free - holds
    if i ~= own then
      local guaranteed = math.min(other.guaranteed, other.limit)
      local unused = math.max(0, guaranteed - holds)
      never_lent = never_lent
        + math.max(0, guaranteed - math.floor(guaranteed * other.lendable) - holds)
      kept = kept + unused - math.floor(unused * other.lendable)
    end
  end
  local guaranteed = math.min(share.guaranteed, share.limit)
  local by_right = guaranteed - math.floor(guaranteed * share.lendable) - held
  local most = math.max(
    math.min(by_right, free), math.min(guaranteed - held, free - never_lent), free - kept)
  return math.max(0, math.min(most, share.limit - held))
end

local Whole = {}
Whole.__index = Whole

local function whole_of(limits, booked)
  local whole = setmetatable({limits = limits, held = {}, pools = {}, site = 0}, Whole)
  for _, pool in ipairs(limits.pools) do whole.pools[pool.name] = 0 end
  for cell, count in pairs(booked) do whole:take(cell, count) end
  return whole
end

function Whole:take(cell, count)
  local pool = pool_of(cell)
  self.held[cell] = (self.held[cell] or 0) + count
  self.pools[pool] = (self.pools[pool] or 0) + count
  self.site = self.site + count
end

function Whole:share(cell)
  return self.limits.cells[cell] or NOTHING
end

function Whole:pool(cell)
  return self.limits.by_name[pool_of(cell)]
end

function Whole:weight(cell)
  return self.limits.weights[string.match(cell, '%S+$')] or 1
end

function Whole:holds(cell)
  return self.held[cell] or 0
end

function Whole:pool_holds(cell)
  return self.pools[pool_of(cell)] or 0
end

function Whole:is_over(cell)
  return self.site > self.limits.limit
    or self:pool_holds(cell) > (self:pool(cell) or NOTHING).limit
    or self:holds(cell) > self:share(cell).limit
end

function Whole:room_in_site(cell)
  local parts, own = {}, nil
  for name, held in pairs(self.pools) do
    table.insert(parts, {self.limits.by_name[name] or NOTHING, held})
    if name == pool_of(cell) then own = #parts end
  end
  return room_of(self.limits.limit, parts, own)
end

function Whole:room_in_pool(cell)
  local pool = self:pool(cell)
  if not pool or not self.limits.cells[cell] then return 0 end
  local parts, own, strangers = {}, nil, self:pool_holds(cell)
  for i, part in ipairs(pool.cells) do
    parts[i] = {part, self:holds(part.key)}
    strangers = strangers - self:holds(part.key)
    if part.key == cell then own = i end
  end
  return room_of(pool.limit - strangers, parts, own)
end

function Whole:room(cell)
  local within = self:room_in_pool(cell)
  return within > 0 and math.min(within, self:room_in_site(cell)) or 0
end

-- Whether the pool (true) or the cell (false) holds less than its guarantee.
function Whole:owns(cell, in_site)
  if in_site then
    return self:pool_holds(cell) < (self:pool(cell) or NOTHING).guaranteed
  end
  return self:holds(cell) < self:share(cell).guaranteed
end

function Whole:fullness(cell)
  local weight = self:weight(cell)
  return weight > 0 and self:holds(cell) / weight or math.huge
end

function Whole:base(cell, workers)
  local pool = self:pool(cell)
  if not pool or not self.limits.cells[cell] then return 0 end
  local each = PLENTY * workers
  return math.min(
    math.floor(self.limits.limit / (each * #self.limits.order)),
    math.floor(pool.limit / (each * #pool.cells)),
    math.floor(self:share(cell).limit / each))
end

-- Earlier in the list goes first where all else is equal: it waits longer.
local function more_urgent(a, b)
  for i = 1, #a do
    if a[i] ~= b[i] then return a[i] < b[i] end
  end
  return false
end

local function urgency(whole, want, index)
  return {
    want.waiting and 0 or 1,
    whole:owns(want.cell, true) and 0 or 1,
    whole:owns(want.cell, false) and 0 or 1,
    whole:fullness(want.cell), want.given, index,
  }
end

local function hand_out(whole, wants)
  local open = {}
  for index, want in ipairs(wants) do
    want.given = 0
    open[index] = want
  end
  for _ = 1, PICKS do
    if #open == 0 then return end
    local first, best
    for index, want in ipairs(open) do
      local key = urgency(whole, want, index)
      if not best or more_urgent(key, best) then first, best = index, key end
    end
    local want = open[first]
    local free = whole:room(want.cell)
    if free == 0 then
      local others = {}
      for _, other in ipairs(open) do
        if other.cell ~= want.cell then table.insert(others, other) end
      end
      open = others
    else
      local fair = free
      if #open > 1 then
        fair = math.max(1, math.min(math.floor(want.count / 16), math.floor(free / (2 * #open))))
      end
      local count = math.min(fair, free, want.count - want.given)
      want.given = want.given + count
      whole:take(want.cell, count)
      if want.given == want.count then table.remove(open, first) end
    end
  end
end

local function must_yield(whole, cell, wanted)
  if cell == wanted then return true end
  if whole:holds(wanted) >= whole:share(wanted).limit then return false end
  local same_pool = pool_of(cell) == pool_of(wanted)
  if not same_pool and (whole:room_in_pool(wanted) == 0 or whole:room_in_site(wanted) > 0) then
    return false
  end
  if whole:owns(wanted, not same_pool) then return not whole:owns(cell, not same_pool) end
  if same_pool then
    if whole:holds(cell) <= whole:share(cell).guaranteed then return false end
  else
    local pool = whole:pool(cell)
    if pool and whole:pool_holds(cell) <= pool.guaranteed then return false end
  end
  return whole:fullness(cell) >= whole:fullness(wanted)
end

local function owed_to(whole, cell, held, want, own_since)
  local one = (not own_since or want.since < own_since or want.held == 0) and 1 or 0
  local here, there = whole:weight(cell), whole:weight(want.cell)
  if here + there == 0 then return one end
  local even = math.floor((held * there - want.held * here) / (here + there))
  return math.max(one, math.min(want.count, even))
end

local function take_back(whole, incarnation, mine, caps, aged, standing)
  local own_since = {}
  for _, want in ipairs(standing) do
    if want.incarnation == incarnation and want.waiting then own_since[want.cell] = want.since end
  end
  for cell, has in pairs(mine) do
    if caps[cell] <= has.held and has.used > 0 then
      local owed = 0
      for _, want in ipairs(aged) do
        if want.incarnation ~= incarnation and must_yield(whole, cell, want.cell) then
          owed = owed + owed_to(whole, cell, has.held, want, own_since[cell])
        end
      end
      if owed > 0 then caps[cell] = math.min(caps[cell], math.max(0, has.used - owed)) end
    end
  end
end

-- Returns caps by cell, starved cells in order, whether something is free that others want, bases,
-- what the worker's own wants got.
local function settle(limits, booked, incarnation, mine, standing, workers)
  local whole = whole_of(limits, booked)
  local cells = {}
  for i, cell in ipairs(limits.order) do cells[i] = cell end
  for cell in pairs(mine) do
    if not limits.cells[cell] then table.insert(cells, cell) end
  end
  local over, caps = {}, {}
  for _, cell in ipairs(cells) do over[cell] = whole:is_over(cell) end
  for cell, has in pairs(mine) do caps[cell] = has.held end
  table.sort(standing, function(a, b)
    return more_urgent({a.since, a.incarnation, a.cell}, {b.since, b.incarnation, b.cell})
  end)
  for i = #standing, WANTS_IN_HAND + 1, -1 do standing[i] = nil end
  hand_out(whole, standing)
  local others, unmet, given = false, false, {}
  local aged, starved, seen = {}, {}, {}
  for _, want in ipairs(standing) do
    if want.incarnation == incarnation then
      given[want.cell] = want.given
      caps[want.cell] = (caps[want.cell] or 0) + want.given
    elseif want.given > 0 then
      others = true
    end
    if want.waiting and want.given < want.count then
      unmet = true
      if now - want.since > limits.sync_ms then
        table.insert(aged, want)
        if not seen[want.cell] then
          seen[want.cell] = true
          table.insert(starved, want.cell)
        end
      end
    end
  end
  local bases = {}
  if not unmet then
    for _, cell in ipairs(cells) do
      local base = whole:base(cell, workers)
      if base > 0 then
        bases[cell] = base
        local cap = caps[cell] or 0
        local more = math.min((mine[cell] and mine[cell].used or 0) + base - cap, whole:room(cell))
        if more > 0 then
          whole:take(cell, more)
          caps[cell] = cap + more
        end
      end
    end
  end
  take_back(whole, incarnation, mine, caps, aged, standing)
  for cell in pairs(caps) do
    if over[cell] then caps[cell] = 0 end
  end
  return caps, starved, others, bases, given
end
