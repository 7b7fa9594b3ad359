-- Escrow grants once more: broker/policy/grants.py and grant_book.py explain every rule; the order of
-- steps, ties and bounds here are theirs (kept equal by a differential property test).
--
-- A cell is written "pool population"; a space sorts below every character of a name, as the pair does.

local WANTS_IN_HAND, PICKS, PLENTY = 64, 256, 4
local SILENT_TICKS = 4
local IDLE_WORKER_MS, TOMBSTONE_MS, DEFAULT_LEASE_MS = 60000, 3600000, 600000
local EXPIRIES = 500
local NOTHING = {limit = 0, guaranteed = 0, lendable = 1}

local grants = {}

local function flat_copy(of)
  local copy = {}
  for name, value in pairs(of) do copy[name] = value end
  return copy
end

local function pool_of(cell)
  return string.match(cell, '^%S+')
end

-- The document as grants need it: {limit, sync_ms, weights, pools in order, by_name, cells, order}.
function grants.limits()
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

-- --- broker/policy/grants.py

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

function Whole:has_base(cell, workers)
  local pool = self:pool(cell)
  if not pool then return false end
  local each = PLENTY * workers
  return self.limits.limit >= each * #self.limits.order
    and pool.limit >= each * #pool.cells
    and self:share(cell).limit >= each
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
  if not same_pool and whole.limits.by_name[pool_of(wanted)] and whole:room_in_site(wanted) > 0 then
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

-- Returns caps by cell, starved cells in order, whether something is free that others want.
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
  local others, unmet = false, false
  local aged, starved, seen = {}, {}, {}
  for _, want in ipairs(standing) do
    if want.incarnation == incarnation then
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
  if not unmet then
    for _, cell in ipairs(cells) do
      local used = mine[cell] and mine[cell].used or 0
      local cap = caps[cell] or 0
      if used >= cap and whole:has_base(cell, workers) then
        local base = math.min(used + 1 - cap, whole:room(cell))
        whole:take(cell, base)
        caps[cell] = cap + base
      end
    end
  end
  take_back(whole, incarnation, mine, caps, aged, standing)
  for cell in pairs(caps) do
    if over[cell] then caps[cell] = 0 end
  end
  return caps, starved, others
end

-- --- broker/policy/grant_book.py

local function read_worker(incarnation)
  local text = redis.call('HGET', K.workers, incarnation)
  return text and cjson.decode(text) or nil
end

local function write_worker(incarnation, worker)
  redis.call('HSET', K.workers, incarnation, cjson.encode(worker))
end

-- The sum over all workers is kept beside them, so that a sync reads its own worker only.
local function book(worker, cell, count)
  local before = worker.booked[cell] or 0
  if count ~= before then redis.call('HINCRBY', K.held, cell, count - before) end
  if redis.call('HGET', K.held, cell) == '0' then redis.call('HDEL', K.held, cell) end
  worker.booked[cell] = count > 0 and count or nil
end

local function lease_key(pool, incarnation)
  return pool .. ' ' .. incarnation
end

-- Leases run from now where something is booked; one told before is never shortened here.
local function extend(incarnation, worker, limits, pools_before)
  local pools = {}
  for cell in pairs(worker.booked) do pools[pool_of(cell)] = true end
  for pool in pairs(pools_before) do
    if not pools[pool] then redis.call('ZREM', K.leases, lease_key(pool, incarnation)) end
  end
  for pool in pairs(pools) do
    local known = limits and limits.by_name[pool]
    local lease = known and known.lease or tonumber(ledger.lease) or DEFAULT_LEASE_MS
    redis.call('ZADD', K.leases, 'GT', now + lease, lease_key(pool, incarnation))
  end
end

local function pools_booked(worker)
  local pools = {}
  for cell in pairs(worker.booked) do pools[pool_of(cell)] = true end
  return pools
end

-- Who waits, on any worker that still speaks; what is only foreseen counts for who asks now.
local function standing_wants(limits, incarnation)
  local wants = {}
  local rows = redis.call('HGETALL', K.wants)
  for i = 1, #rows, 2 do
    local said = cjson.decode(rows[i + 1])
    if said[1] + SILENT_TICKS * limits.sync_ms >= now then
      for _, row in ipairs(said[2]) do
        local waiting = row[5] == 1
        if waiting or rows[i] == incarnation then
          table.insert(wants, {incarnation = rows[i], cell = row[1], count = row[2], since = row[3],
            held = row[4], waiting = waiting})
        end
      end
    end
  end
  return wants
end

local function flat_hash(key)
  local table_of, rows = {}, redis.call('HGETALL', key)
  for i = 1, #rows, 2 do table_of[rows[i]] = tonumber(rows[i + 1]) end
  return table_of
end

function grants.end_learning()
  if not learning then return end
  local everybody = ledger.known == '1' and redis.call('SCARD', K.unheard) == 0
  if everybody or now - ledger.since > (tonumber(ledger.lease) or DEFAULT_LEASE_MS) then
    grants.stop_learning()
  end
end

function grants.stop_learning()
  learning = false
  redis.call('HSET', K.meta, 'learning', '0')
end

function grants.forget(incarnation)
  redis.call('SREM', K.unheard, incarnation)
  redis.call('HDEL', K.wants, incarnation)
  local worker = read_worker(incarnation)
  if not worker then return false end
  for pool in pairs(pools_booked(worker)) do
    redis.call('ZREM', K.leases, lease_key(pool, incarnation))
  end
  for cell in pairs(flat_copy(worker.booked)) do book(worker, cell, 0) end
  redis.call('HDEL', K.workers, incarnation)
  redis.call('ZREM', K.leases, lease_key('*', incarnation))
  return true
end

function grants.bury(incarnation)
  redis.call('ZADD', K.dead, now + TOMBSTONE_MS, incarnation)
  return grants.forget(incarnation)
end

local function lapse(pool, incarnation)
  local worker = read_worker(incarnation)
  if not worker then return end
  if pool == '*' then
    if not next(worker.booked) then grants.forget(incarnation) end
    return
  end
  for cell in pairs(flat_copy(worker.booked)) do
    if pool_of(cell) == pool then
      book(worker, cell, 0)
      worker.caps[cell], worker.used[cell] = nil, nil
    end
  end
  write_worker(incarnation, worker)
  if not next(worker.booked) and worker.idle_until < now then grants.forget(incarnation) end
end

-- What each call does first.
function grants.pass_time()
  grants.end_learning()
  if learning then return end
  local bound = string.format('(%.0f', now)
  local late = redis.call('ZRANGEBYSCORE', K.leases, '-inf', bound, 'LIMIT', 0, EXPIRIES)
  for _, member in ipairs(late) do
    redis.call('ZREM', K.leases, member)
    local pool, incarnation = string.match(member, '^(%S+) (.*)$')
    lapse(pool, incarnation)
  end
  redis.call('ZREMRANGEBYSCORE', K.dead, '-inf', bound)
end

-- A report from another epoch or from nowhere: booked, waited for, but not its latest word.
local function hear_from_before(report, worker, limits)
  if worker and worker.epoch == ledger.epoch then return end
  worker = worker or {epoch = report.epoch, sequence = 0, seen = now, limits_known = 0, digest = '',
    booked = {}, caps = {}, used = {}}
  local pools = pools_booked(worker)
  for _, row in ipairs(report.cells) do
    if row.held > (worker.booked[row.cell] or 0) then book(worker, row.cell, row.held) end
  end
  worker.idle_until = now + IDLE_WORKER_MS
  write_worker(report.incarnation, worker)
  redis.call('ZADD', K.leases, worker.idle_until, lease_key('*', report.incarnation))
  extend(report.incarnation, worker, limits, pools)
  if learning and report.epoch ~= '' then redis.call('SADD', K.unheard, report.incarnation) end
end

-- Returns caps by cell, leases by pool, starved cells, whether to wake the others.
function grants.sync(report)
  local incarnation = report.incarnation
  if redis.call('ZSCORE', K.dead, incarnation) then return {}, {}, {}, false end
  local limits, former = grants.limits(), read_worker(incarnation)
  if report.epoch ~= ledger.epoch then
    hear_from_before(report, former, limits)
    return {}, {}, {}, false
  end
  local leases = {}
  for _, pool in ipairs(limits and limits.pools or {}) do leases[pool.name] = pool.lease end
  if former and former.epoch == report.epoch and report.sequence <= former.sequence then
    return former.caps, leases, {}, false
  end
  redis.call('SREM', K.unheard, incarnation)
  grants.end_learning()

  local worker = {epoch = report.epoch, sequence = report.sequence, seen = now,
    limits_known = report.limits_known, digest = report.digest, booked = {}, caps = {}, used = {},
    idle_until = now + IDLE_WORKER_MS}
  local before = former and flat_copy(former.booked) or {}
  for cell, count in pairs(before) do worker.booked[cell] = count end
  local pools, mine, wants, newly = pools_booked(worker), {}, {}, {}
  for _, row in ipairs(report.cells) do
    mine[row.cell] = {held = row.held, used = row.used}
    if row.used > 0 then worker.used[row.cell] = row.used end
    if row.want > 0 and not report.leaving then
      table.insert(wants, {row.cell, row.want, now - row.age, row.held, row.age > 0 and 1 or 0})
      newly[row.cell] = true
    end
  end
  for cell in pairs(before) do
    if not mine[cell] then book(worker, cell, 0) end
  end
  for cell, has in pairs(mine) do book(worker, cell, has.held) end
  local wanted_before = redis.call('HGET', K.wants, incarnation)
  for _, row in ipairs(wanted_before and cjson.decode(wanted_before)[2] or {}) do newly[row[1]] = nil end
  if #wants > 0 then
    redis.call('HSET', K.wants, incarnation, cjson.encode({now, wants}))
  else
    redis.call('HDEL', K.wants, incarnation)
  end
  write_worker(incarnation, worker)

  local caps, starved, others = {}, {}, false
  if not limits or learning then
    for cell, has in pairs(mine) do caps[cell] = has.held end
  elseif report.leaving then
    others = #standing_wants(limits, incarnation) > 0
  else
    caps, starved, others = settle(limits, flat_hash(K.held), incarnation, mine,
      standing_wants(limits, incarnation), redis.call('HLEN', K.workers))
  end
  for cell, cap in pairs(caps) do
    if cap > (worker.booked[cell] or 0) then book(worker, cell, cap) end
    worker.caps[cell] = cap > 0 and cap or nil
  end
  redis.call('ZADD', K.leases, worker.idle_until, lease_key('*', incarnation))
  extend(incarnation, worker, limits, pools)
  write_worker(incarnation, worker)

  local freed, unmet, starving = false, false, {}
  for cell, held in pairs(before) do freed = freed or (worker.booked[cell] or 0) < held end
  for _, cell in ipairs(starved) do starving[cell] = true end
  for cell in pairs(newly) do unmet = unmet or starving[cell] or not worker.caps[cell] end
  return worker.caps, leases, starved, (freed and others) or unmet
end
