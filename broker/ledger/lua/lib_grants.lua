-- Who holds what, until when, in which epoch: broker/policy/grant_book.py once more, which explains
-- the safety rules. Cells are written as in lib_settle.lua.

local SILENT_TICKS = 4
local IDLE_WORKER_MS, TOMBSTONE_MS, DEFAULT_LEASE_MS = 60000, 3600000, 600000
local EXPIRIES = 500
local SETTLING_MS = 2000

local grants = {}

local function flat_copy(of)
  local copy = {}
  for name, value in pairs(of) do copy[name] = value end
  return copy
end

local function read_worker(incarnation)
  local text = redis.call('HGET', K.workers, incarnation)
  return text and cjson.decode(text) or nil
end

local function write_worker(incarnation, worker)
  redis.call('HSET', K.workers, incarnation, cjson.encode(worker))
end

local function write_wants(incarnation, wants)
  if #wants > 0 then
    redis.call('HSET', K.wants, incarnation, cjson.encode({now, wants}))
  else
    redis.call('HDEL', K.wants, incarnation)
  end
end

-- The sum over all workers is kept beside them, so that a sync reads its own worker only.
local function book(worker, cell, count)
  local before = worker.booked[cell] or 0
  if count == before then return end
  if redis.call('HINCRBY', K.held, cell, count - before) == 0 then
    redis.call('HDEL', K.held, cell)
  end
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
  local lasted = now - ledger.since
  local everybody = ledger.known == '1' and redis.call('SCARD', K.unheard) == 0
    and lasted >= SETTLING_MS
  if everybody or lasted > (tonumber(ledger.lease) or DEFAULT_LEASE_MS) then
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

-- Returns caps by cell, leases by pool, starved cells, whether to wake the others, bases by cell.
function grants.sync(report)
  local incarnation = report.incarnation
  if redis.call('ZSCORE', K.dead, incarnation) then return {}, {}, {}, false, {} end
  local limits, former = grant_limits(), read_worker(incarnation)
  if report.epoch ~= ledger.epoch then
    hear_from_before(report, former, limits)
    return {}, {}, {}, false, {}
  end
  local leases = {}
  for _, pool in ipairs(limits and limits.pools or {}) do leases[pool.name] = pool.lease end
  if former and former.epoch == report.epoch and report.sequence <= former.sequence then
    return former.caps, leases, {}, false, {}
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
  write_wants(incarnation, wants)
  write_worker(incarnation, worker)

  local caps, starved, others, bases, given = {}, {}, false, {}, {}
  if not limits or learning then
    for cell, has in pairs(mine) do caps[cell] = has.held end
  elseif report.leaving then
    others = #standing_wants(limits, incarnation) > 0
  else
    caps, starved, others, bases, given = settle(limits, flat_hash(K.held), incarnation, mine,
      standing_wants(limits, incarnation), redis.call('HLEN', K.workers))
  end
  for cell, cap in pairs(caps) do
    if cap > (worker.booked[cell] or 0) then book(worker, cell, cap) end
    worker.caps[cell] = cap > 0 and cap or nil
  end
  -- What was given stands no more: until the next report it would be reserved a second time.
  local left = {}
  for _, row in ipairs(wants) do
    local got = given[row[1]] or 0
    if row[2] > got then
      table.insert(left, {row[1], row[2] - got, row[3], row[4] + got, row[5]})
    end
  end
  write_wants(incarnation, left)
  redis.call('ZADD', K.leases, worker.idle_until, lease_key('*', incarnation))
  extend(incarnation, worker, limits, pools)
  write_worker(incarnation, worker)

  local freed, unmet, starving = false, false, {}
  for cell, held in pairs(before) do freed = freed or (worker.booked[cell] or 0) < held end
  for _, cell in ipairs(starved) do starving[cell] = true end
  for cell in pairs(newly) do unmet = unmet or starving[cell] or not worker.caps[cell] end
  return worker.caps, leases, starved, (freed and others) or unmet, bases
end
