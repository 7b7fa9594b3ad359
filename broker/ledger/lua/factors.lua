-- Second factors, and who may set one up. Nothing here looks inside a secret: it is sealed outside.
-- ARGV: look, employee | enrol, employee, id, sealed, step, population, proved ms, digest...
--     | step, employee, id, step | recovery, employee, id, digest | reseal, employee, id, sealed
--     | reset, employee, ms, audit entry | open, ms, audit entry | enrolment
--
--   factor:EMPLOYEE  hash  id, sealed, step (the last used one), since (civil ms); r:DIGEST of each
--                          recovery code that is left
--   enrolment        hash  "all" | "one EMPLOYEE" -> "epoch ends" (ledger time)
--
-- A permission to enrol is bound to the epoch: a Redis that came back may have lost factors, and then
-- whoever knows a password must not be the first to set one up anew.

local verb, employee = ARGV[1], ARGV[2]
local enrolment = key('enrolment')
local ALL, ONE = 'all', 'one '

local function left_of(permission)
  local packed = redis.call('HGET', enrolment, permission)
  if not packed then return 0 end
  local epoch, ends = string.match(packed, '^(%S+) (%d+)$')
  if epoch ~= ledger.epoch or tonumber(ends) <= now then
    redis.call('HDEL', enrolment, permission)
    return 0
  end
  return tonumber(ends) - now
end

local function permit(permission, ms)
  if ms > 0 then
    redis.call('HSET', enrolment, permission, ledger.epoch .. ' ' .. whole(now + ms))
  else
    redis.call('HDEL', enrolment, permission)
  end
end

if verb == 'enrolment' then return left_of(ALL) end

if verb == 'open' then
  permit(ALL, tonumber(ARGV[2]))
  if ARGV[3] ~= '' then record_audit(ARGV[3], tonumber(ledger.limits) or 0) end
  return 1
end

local factor = key('factor:' .. employee)

if verb == 'reset' then
  local had = redis.call('DEL', factor)
  permit(ONE .. employee, tonumber(ARGV[3]))
  record_audit(ARGV[4], tonumber(ledger.limits) or 0)
  return had
end

-- While it learns, nobody can say what was forgotten.
if learning then return {'learning'} end

if verb == 'look' then
  local may = math.max(left_of(ALL), left_of(ONE .. employee))
  local kept = redis.call('HMGET', factor, 'id', 'sealed', 'step', 'since')
  if not kept[1] then return {'none', may} end
  local digests = {}
  for _, field in ipairs(redis.call('HKEYS', factor)) do
    local digest = string.match(field, '^r:(.*)$')
    if digest then digests[#digests + 1] = digest end
  end
  return {'factor', may, kept[1], kept[2], tonumber(kept[3]), tonumber(kept[4]), unpack(digests)}
end

if verb == 'enrol' then
  if sessions.is_revoked('', employee, ARGV[6], tonumber(ARGV[7])) then return {'revoked'} end
  if redis.call('EXISTS', factor) == 1 then return {'exists'} end
  if left_of(ALL) == 0 and left_of(ONE .. employee) == 0 then return {'closed'} end
  redis.call('HDEL', enrolment, ONE .. employee)
  redis.call('HSET', factor, 'id', ARGV[3], 'sealed', ARGV[4], 'step', ARGV[5], 'since', whole(wall_ms()))
  for index = 8, #ARGV do redis.call('HSET', factor, 'r:' .. ARGV[index], '1') end
  return {'enrolled'}
end

-- What follows is about one enrolment: after a reset, or another one, it is about nothing.
if redis.call('HGET', factor, 'id') ~= ARGV[3] then return {0} end

if verb == 'step' then
  if tonumber(ARGV[4]) <= tonumber(redis.call('HGET', factor, 'step')) then return {0} end
  redis.call('HSET', factor, 'step', ARGV[4])
  return {1}
end

if verb == 'recovery' then return {redis.call('HDEL', factor, 'r:' .. ARGV[4])} end

redis.call('HSET', factor, 'sealed', ARGV[4])  -- reseal
return {1}
