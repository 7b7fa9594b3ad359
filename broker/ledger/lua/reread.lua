-- Whose entry in the directory is to be read again, and what has changed in it.
-- ARGV: due, most, every (ms) | mark, kind, subject, offset | list, kind, subject, most
--     | update, employee, id, population, record, id, population, record, ...
--
--   reread  zset  employee -> ledger time (ms) at which their entry was read last; 0: wanted at once

local PORTION = 500
local verb = ARGV[1]

-- Employees who are due, the longest unread first; taken as read, so that no other portal reads them.
if verb == 'due' then
  local due = {}
  local named = redis.call(
    'ZRANGEBYSCORE', key('reread'), '-inf', whole(math.max(0, now - tonumber(ARGV[3]))),
    'LIMIT', 0, tonumber(ARGV[2])
  )
  for _, employee in ipairs(named) do
    if sessions.count(employee) == 0 then
      redis.call('ZREM', key('reread'), employee)
    else
      redis.call('ZADD', key('reread'), whole(now), employee)
      due[#due + 1] = employee
    end
  end
  return due
end

-- Of sessions named: the ids from offset on, at most a portion; nil when the kind is no list.
local function ids_of(kind, subject, first, last)
  if kind == 'employee' then return redis.call('ZREVRANGE', key('e:' .. subject), first, last) end
  if kind == 'population' then return redis.call('ZREVRANGE', key('p:' .. subject), first, last) end
  return redis.call('ZREVRANGE', key('session_ends'), first, last)
end

-- {employees newly wanted, offset to go on at, or -1}
if verb == 'mark' then
  local kind, subject, offset = ARGV[2], ARGV[3], tonumber(ARGV[4])
  local ids = {subject}
  if kind ~= 'session' then ids = ids_of(kind, subject, offset, offset + PORTION - 1) end
  local marked = 0
  for _, id in ipairs(ids) do
    local _, employee = sessions.owner_of(id)
    if employee and redis.call('ZSCORE', key('reread'), employee) ~= '0' then
      redis.call('ZADD', key('reread'), 0, employee)
      marked = marked + 1
    end
  end
  local more = kind ~= 'session' and #ids == PORTION
  if not more then wake('reread') end
  return {marked, more and offset + PORTION or -1}
end

-- {how many there are, record, when it was used last, ...}: the youngest first.
if verb == 'list' then
  local kind, subject, most = ARGV[2], ARGV[3], tonumber(ARGV[4])
  local set = kind == 'population' and 'p:' .. subject or 'session_ends'
  local flat = {redis.call('ZCARD', key(set))}
  for _, id in ipairs(ids_of(kind, subject, 0, most - 1)) do
    sessions.append_record(flat, id)
  end
  return flat
end

local employee, updated = ARGV[2], 0
for index = 3, #ARGV, 3 do
  local id, population, record = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local _, owner = sessions.owner_of(id)
  if owner == employee and sessions.valid_record(id) then
    local created = redis.call('ZSCORE', key('e:' .. employee), id)
    local ends = redis.call('ZSCORE', key('session_ends'), id)
    sessions.store(id, employee, population, tonumber(created), tonumber(ends), record)
    updated = updated + 1
  end
end
if updated > 0 then
  sessions.revoke('changed', employee, now)
  wake('revocation')
end
return updated
