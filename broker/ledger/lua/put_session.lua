-- Store a session; end the one it replaces, evict and revoke the employee's oldest beyond `most`.
-- ARGV: id, employee, population, created, ends, most, record, refuse, replaced. Returns the ids that
-- are not valid (any more): the evicted ones, or the id itself when a revocation already names it. With
-- refuse = 1 nobody is evicted: 0 is returned when there are as many already. The new one is written
-- before the replaced one ends: between the two the employee must not be without a session, or the seat
-- and the place in the queue would be gone.

local id, employee, population = ARGV[1], ARGV[2], ARGV[3]
local created, ends, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local replaced = ARGV[9]

if sessions.is_revoked(id, employee, population, created) then
  return {id}
end
if ARGV[8] == '1' then
  local valid = 0
  for _, other in ipairs(redis.call('ZRANGE', key('e:' .. employee), 0, -1)) do
    if other ~= id and other ~= replaced and sessions.valid_record(other) then valid = valid + 1 end
  end
  if valid >= most then return 0 end
end
sessions.store(id, employee, population, created, ends, ARGV[7])
local ended = false
local _, owner = sessions.owner_of(replaced)
if owner == employee and replaced ~= id then
  sessions.revoke('session', replaced, sessions.revocation_time())
  ended = true
end
local evicted = redis.call('ZRANGE', key('e:' .. employee), 0, -1 - most)
for _, oldest in ipairs(evicted) do
  sessions.revoke('session', oldest, sessions.revocation_time())
end
if ended or #evicted > 0 then wake('revocation') end
return evicted
