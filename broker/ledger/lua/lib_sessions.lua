-- Sessions, the numbered list of revocations, and things that may be used once.
--
--   s:ID                 string  the record as the broker encodes it (Redis TTL: a broom)
--   session_owner        hash    ID -> "population employee"
--   session_ends         zset    ID -> absolute end (ledger ms)
--   e:EMPLOYEE           zset    ID -> created (ms): the employee's sessions
--   p:POPULATION         zset    ID -> created (ms): the population's sessions
--   session_used         hash    ID -> when it was used last (ms), as workers report it
--   session_populations  zset    populations that ever had a session, score 0
--   session_meta         hash    longest lifetime (ms), newest created (ms), seats_survived
--   revocations          zset    "number kind ms subject" -> number
--   revocation_number    string  the last number given
--   revoked              hash    "kind subject" -> ms: nothing created until then is valid
--   reread               zset    employee -> when their entry was read (reread.lua)
--   purges               zset    "number kind ms subject" -> number: large ones still at work
--
-- A revocation of a population or of everybody is in force at once, by `revoked`; the records it
-- names are deleted, and their seats freed, some hundred a call.

local sessions = {}

local LONGEST = 43200000      -- ms a revocation is kept when no longer session was seen
local BROOM = 7200000         -- ms that Redis keeps a record longer than ledger time says
local CLOCK_SLACK = 60000     -- ms by which the newest session may be ahead of ledger time
local PRUNE_ENTRIES = 50
local LISTED_ENTRIES = 500

local function meta(name)
  return tonumber(redis.call('HGET', key('session_meta'), name) or 0)
end

local function raise_meta(name, value)
  if value > meta(name) then
    redis.call('HSET', key('session_meta'), name, whole(value))
  end
end

-- population, employee; or nil
function sessions.owner_of(id)
  local packed = redis.call('HGET', key('session_owner'), id)
  if not packed then
    return nil
  end
  return string.match(packed, '^(%S*) (.*)$')
end

function sessions.count(employee)
  return redis.call('ZCARD', key('e:' .. employee))
end

-- Deletes the record; the employee's seat and ticket go with the last one. False if there was none.
function sessions.delete(id)
  local population, employee = sessions.owner_of(id)
  if not population then
    return false
  end
  redis.call('DEL', key('s:' .. id))
  redis.call('HDEL', key('session_owner'), id)
  redis.call('ZREM', key('session_ends'), id)
  redis.call('HDEL', key('session_used'), id)
  redis.call('ZREM', key('p:' .. population), id)
  redis.call('ZREM', key('e:' .. employee), id)
  if sessions.count(employee) == 0 then
    seats.give_back(employee)
  end
  return true
end

function sessions.store(id, employee, population, created, ends, record)
  local known = sessions.owner_of(id)
  if known and known ~= population then
    redis.call('ZREM', key('p:' .. known), id)
  end
  redis.call('SET', key('s:' .. id), record, 'PX', whole(math.max(1, ends - now + BROOM)))
  redis.call('HSET', key('session_owner'), id, population .. ' ' .. employee)
  redis.call('ZADD', key('session_ends'), whole(ends), id)
  redis.call('ZADD', key('e:' .. employee), whole(created), id)
  redis.call('ZADD', key('p:' .. population), whole(created), id)
  redis.call('ZADD', key('session_populations'), 0, population)
  redis.call('ZADD', key('reread'), 'NX', whole(now), employee)
  raise_meta('longest', ends - created)
  raise_meta('newest', math.min(created, now + CLOCK_SLACK))
end

-- list: ids of sessions that a worker has served since its last report.
function sessions.apply_used(list)
  for _, id in ipairs(list) do
    if redis.call('HEXISTS', key('session_owner'), id) == 1 then
      redis.call('HSET', key('session_used'), id, whole(now))
    end
  end
end

-- Appends the record and when it was used last (0: not since the login), if it is valid.
function sessions.append_record(flat, id)
  local record = sessions.valid_record(id)
  if record then
    flat[#flat + 1] = record
    flat[#flat + 1] = tonumber(redis.call('HGET', key('session_used'), id) or 0)
  end
end

function sessions.is_revoked(id, employee, population, created)
  local marks = redis.call(
    'HMGET', key('revoked'),
    'session ' .. id, 'employee ' .. employee, 'population ' .. population, 'everybody '
  )
  if marks[1] then
    return true
  end
  for index = 2, 4 do
    if marks[index] and created <= tonumber(marks[index]) then
      return true
    end
  end
  return false
end

-- The record, unless it is unknown, past its end or revoked.
function sessions.valid_record(id)
  local population, employee = sessions.owner_of(id)
  if not population or tonumber(redis.call('ZSCORE', key('session_ends'), id)) <= now then
    return false
  end
  local created = tonumber(redis.call('ZSCORE', key('e:' .. employee), id))
  if sessions.is_revoked(id, employee, population, created) then
    return false
  end
  return redis.call('GET', key('s:' .. id))
end

-- --- revocations

local function parse(entry)
  local number, kind, ms, subject = string.match(entry, '^(%d+) (%a+) (%d+) (.*)$')
  return tonumber(number), kind, tonumber(ms), subject
end

local function mark_name(kind, subject)
  return kind .. ' ' .. (kind == 'everybody' and '' or subject)
end

local function prune_revocations()
  local horizon = now - math.max(LONGEST, meta('longest'))
  for _, entry in ipairs(redis.call('ZRANGE', key('revocations'), 0, PRUNE_ENTRIES - 1)) do
    local _, kind, ms, subject = parse(entry)
    if ms >= horizon then
      return
    end
    redis.call('ZREM', key('revocations'), entry)
    local name = mark_name(kind, subject)
    if tonumber(redis.call('HGET', key('revoked'), name) or 0) <= ms then
      redis.call('HDEL', key('revoked'), name)
    end
  end
end

-- The ledger time that a revocation of now has to name: sessions are stamped by workers, whose
-- reckoning may be slightly ahead.
function sessions.revocation_time()
  return math.max(now, meta('newest'))
end

-- Appends to the numbered list and carries it out. Returns its number. The kind `changed` revokes
-- nothing: workers read the employee's records again.
function sessions.revoke(kind, subject, ms)
  prune_revocations()
  local number = redis.call('INCR', key('revocation_number'))
  local entry = whole(number) .. ' ' .. kind .. ' ' .. whole(ms) .. ' ' .. subject
  redis.call('ZADD', key('revocations'), whole(number), entry)
  if kind == 'changed' then
    return number
  end
  local name = mark_name(kind, subject)
  if tonumber(redis.call('HGET', key('revoked'), name) or 0) < ms then
    redis.call('HSET', key('revoked'), name, whole(ms))
  end
  if kind == 'session' then
    sessions.delete(subject)
  elseif kind == 'employee' then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('e:' .. subject), '-inf', whole(ms))) do
      sessions.delete(id)
    end
    if sessions.count(subject) == 0 then
      seats.give_back(subject)
    end
  else
    redis.call('ZADD', key('purges'), whole(number), entry)
  end
  return number
end

function sessions.revocation_of(kind, subject)
  return redis.call('HGET', key('revoked'), mark_name(kind, subject))
end

-- {upto, number, kind, subject, ms, ...}: what follows `number`, a bounded part of it; `upto` is the
-- last number listed, or the last of all when nothing is left out.
function sessions.revocations_after(number)
  local flat = {0}
  local listed = redis.call(
    'ZRANGEBYSCORE', key('revocations'), '(' .. whole(number), '+inf', 'LIMIT', 0, LISTED_ENTRIES
  )
  for _, entry in ipairs(listed) do
    local found, kind, ms, subject = parse(entry)
    for _, value in ipairs({found, kind, subject, ms}) do
      flat[#flat + 1] = value
    end
    flat[1] = found
  end
  if #listed < LISTED_ENTRIES then
    flat[1] = tonumber(redis.call('GET', key('revocation_number')) or 0)
  end
  return flat
end

-- --- sweeps: bounded work that every call script does

-- Records that a revocation of a population or of everybody names.
function sessions.purge(budget)
  local left = budget
  while left > 0 do
    local entry = redis.call('ZRANGE', key('purges'), 0, 0)[1]
    if not entry then
      break
    end
    local _, kind, ms, subject = parse(entry)
    local populations = {subject}
    if kind == 'everybody' then
      populations = redis.call('ZRANGE', key('session_populations'), 0, -1)
    end
    for _, population in ipairs(populations) do
      local named = left > 0 and redis.call(
        'ZRANGEBYSCORE', key('p:' .. population), '-inf', whole(ms), 'LIMIT', 0, left
      ) or {}
      for _, id in ipairs(named) do
        sessions.delete(id)
        left = left - 1
      end
    end
    if left > 0 then
      redis.call('ZREM', key('purges'), entry)
    end
  end
  return budget - left
end

local function expire(budget)
  local used = 0
  local ended = budget > 0 and redis.call(
    'ZRANGEBYSCORE', key('session_ends'), '-inf', whole(now), 'LIMIT', 0, budget
  ) or {}
  for _, id in ipairs(ended) do
    sessions.delete(id)
    used = used + 1
  end
  return used
end

seats.sweeps[1] = sessions.purge
seats.sweeps[2] = expire
