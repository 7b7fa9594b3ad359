-- The bounded expiry and call script: run by every release, sync and limit change, so that free or
-- reclaimable capacity and a present waiting employee always meet within one tick. The order of calls
-- is that of broker/policy/queueing.py, which explains it. At most EXPIRY_ENTRIES + CALL_ENTRIES
-- entries a call; what is left over waits for the next one.

local EXPIRY_ENTRIES = 250
local CALL_ENTRIES = 250
local STRIDE = 1048576
local LAG = 8 * STRIDE
local OWNERS_IN_A_ROW = 8
local ON_CALL_IN_A_ROW = 8

-- Up to `most` members of a zset with a score below `bound`, lowest first, with their scores.
local function below(name, bound, most)
  if most <= 0 then
    return {}
  end
  return redis.call(
    'ZRANGEBYSCORE', key(name), '-inf', '(' .. whole(bound), 'WITHSCORES', 'LIMIT', 0, most
  )
end

local function expire_called(left)
  for _, name in ipairs(seats.populations()) do
    local unclaimed = below('called:' .. name, now - seats.limits().claim + 1, left)
    for index = 1, #unclaimed, 2 do
      seats.uncall(unclaimed[index], {population = name})
      left = left - 1
    end
  end
  return left
end

local function end_tickets(left)
  for _, name in ipairs(seats.populations()) do
    if not seats.admitted(name) then
      for _, book in ipairs({'called:', 'queue:'}) do
        local ending = left > 0 and redis.call('ZRANGE', key(book .. name), 0, left - 1) or {}
        for _, employee in ipairs(ending) do
          seats.end_ticket(employee, seats.ticket(employee))
          left = left - 1
        end
      end
    end
  end
  return left
end

local function set_absent_aside(left)
  local absent = below('ticket_seen', now - seats.limits().absent, left)
  for index = 1, #absent, 2 do
    local employee = absent[index]
    seats.silence(employee, seats.ticket(employee).population, tonumber(absent[index + 1]))
    left = left - 1
  end
  return left
end

local function lose_silent(left)
  local lost = below('ticket_silent', now - seats.limits().lost, left)
  for index = 1, #lost, 2 do
    seats.drop_ticket(lost[index], seats.ticket(lost[index]))
    left = left - 1
  end
  return left
end

-- --- calls

-- strides hash: "o:POPULATION" and "b:POPULATION" the passes as owner and as borrower, "o:" and "b:"
-- their fronts, "row" how many owners in a row were called while a borrower waited,
-- "on_call" how many of on-call staff while anybody else did.
local strides

local function read_strides()
  strides = {}
  local flat = redis.call('HGETALL', key('strides'))
  for index = 1, #flat, 2 do
    strides[flat[index]] = tonumber(flat[index + 1])
  end
end

local function set_stride(name, value)
  strides[name] = value
  redis.call('HSET', key('strides'), name, whole(value))
end

local function pass_of(name, side)
  return math.max(strides[side .. name] or 0, (strides[side] or 0) - LAG)
end

local function move_pass(name, side)
  local weight = math.max(1, seats.limits().by_name[name].weight)
  local moved = pass_of(name, side) + math.max(1, math.floor(STRIDE / weight))
  set_stride(side .. name, moved)
  set_stride(side, math.max(strides[side] or 0, moved))
end

local function side_of(name)
  return seats.is_owner(name) and 'o:' or 'b:'
end

local function is_on_call(name)
  return seats.held(name) < seats.limits().by_name[name].on_call
end

local function tier_of(name)
  if is_on_call(name) then
    return (strides.on_call or 0) < ON_CALL_IN_A_ROW and -1 or 4
  end
  if seats.is_owner(name) then
    return 1
  end
  if seats.limits().by_name[name].weight == 0 then
    return 3
  end
  return (strides.row or 0) >= OWNERS_IN_A_ROW and 0 or 2
end

local function contends_as_borrower(name)
  local own = seats.limits().by_name[name]
  return own.weight > 0 and seats.held(name) < own.maximum and not seats.is_owner(name)
end

-- Populations whose head is present, best first; ties keep the order of configuration.
local function in_order(waiting)
  local ranked = {}
  for index, name in ipairs(waiting) do
    ranked[index] = {name = name, tier = tier_of(name), pass = pass_of(name, side_of(name)), index = index}
  end
  table.sort(ranked, function(a, b)
    if a.tier ~= b.tier then
      return a.tier < b.tier
    end
    if a.pass ~= b.pass then
      return a.pass < b.pass
    end
    return a.index < b.index
  end)
  for index, entry in ipairs(ranked) do
    waiting[index] = entry.name
  end
  return waiting
end

-- The first present ticket, or nil; absent ones in front of it are set aside. Also returns what is
-- left of the budget.
local function head_of(name, left)
  while left > 0 do
    local employee = redis.call('ZRANGE', key('queue:' .. name), 0, 0)[1]
    if not employee then
      return nil, left
    end
    local seen = tonumber(redis.call('ZSCORE', key('ticket_seen'), employee))
    if now - seen <= seats.limits().absent then
      return employee, left
    end
    seats.silence(employee, name, seen)
    left = left - 1
  end
  return nil, left
end

local function call_head(name, employee, waiting)
  if tier_of(name) == -1 then  -- not a turn of any scheduler
    if #waiting > 1 then
      set_stride('on_call', (strides.on_call or 0) + 1)
    end
    seats.call(employee, name)
    return
  end
  if (strides.on_call or 0) > 0 then
    set_stride('on_call', 0)
  end
  local side = side_of(name)
  move_pass(name, side)
  if side == 'b:' then
    set_stride('row', 0)
  else
    for _, other in ipairs(waiting) do
      if contends_as_borrower(other) then
        set_stride('row', math.min((strides.row or 0) + 1, OWNERS_IN_A_ROW))
        break
      end
    end
  end
  seats.call(employee, name)
end

-- The seat of a population after the `index` longest idle ones, if it is reclaimable; else false.
-- Looked up once until seats are reclaimed: a full site asks this for everyone who waits.
local idle_seats = {}
local function idle_seat(source, index)
  local known = idle_seats[source] or {}
  idle_seats[source] = known
  if known[index] == nil then
    local entry = redis.call('ZRANGE', key('act:' .. source), index, index, 'WITHSCORES')
    local activity = entry[1] and tonumber(entry[2])
    local idle = activity and now - activity > seats.limits().idle
    known[index] = idle and {employee = entry[1], activity = activity} or false
  end
  return known[index]
end

-- The population whose longest idle seat, among those that bring `name` nearer, is the longest idle.
local function source_for(name, lacking, changes)
  local best, best_activity
  for _, source in ipairs(seats.populations()) do
    local entry = idle_seat(source, changes[source] or 0)
    if entry and (not best or entry.activity < best_activity) then
      changes[source] = (changes[source] or 0) + 1
      changes.total = changes.total + 1
      local after = seats.shortage(name, changes)
      changes[source] = changes[source] - 1
      changes.total = changes.total - 1
      if after < lacking then
        best, best_activity = source, entry.activity
      end
    end
  end
  return best
end

-- Reclaims what lets `name` take a seat, or nothing. Returns whether it did, and the budget left.
local function reclaim_for(name, left)
  local lacking = seats.shortage(name)
  if not lacking then
    return false, left
  end
  local changes, found = {total = 0}, {}
  while lacking > 0 and #found < left do
    local source = source_for(name, lacking, changes)
    if not source then
      return false, left
    end
    local index = changes[source] or 0
    found[#found + 1] = {employee = idle_seat(source, index).employee, source = source}
    changes[source] = index + 1
    changes.total = changes.total + 1
    lacking = seats.shortage(name, changes)
  end
  for _, entry in ipairs(found) do
    seats.vacate(entry.employee, entry.source)
  end
  idle_seats = {}
  return true, left - #found
end

local function call_waiting(left)
  if redis.call('ZCARD', key('ticket_seen')) == 0 then
    return
  end
  read_strides()
  local heads = {}
  while left > 0 do
    local waiting = {}
    for _, name in ipairs(seats.limits().order) do
      if seats.admitted(name) then
        if not heads[name] then
          heads[name], left = head_of(name, left)
        end
        if heads[name] then
          waiting[#waiting + 1] = name
        end
      end
    end
    if left <= 0 then
      return
    end
    in_order(waiting)
    local free
    for _, name in ipairs(waiting) do
      if seats.may_take(name) then
        free = name
        break
      end
    end
    if free then
      call_head(free, heads[free], waiting)
      heads[free] = nil
      left = left - 1
    else
      local reclaimed = false
      for _, name in ipairs(waiting) do
        reclaimed, left = reclaim_for(name, left)
        if reclaimed then
          break
        end
      end
      if not reclaimed then
        return
      end
    end
  end
end

function seats.run_calls()
  if learning then
    return
  end
  local left = EXPIRY_ENTRIES
  for _, sweep in ipairs(seats.sweeps) do
    left = left - sweep(left)
  end
  left = expire_called(left)
  left = end_tickets(left)
  left = set_absent_aside(left)
  lose_silent(left)
  call_waiting(CALL_ENTRIES)
end
