-- Store a session; evict and revoke the employee's oldest beyond `most`.
-- ARGV: id, employee, population, created, ends, most, record. Returns the ids that are not valid
-- (any more): the evicted ones, or the id itself when a revocation already names it.

local id, employee, population = ARGV[1], ARGV[2], ARGV[3]
local created, ends, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

if sessions.is_revoked(id, employee, population, created) then
  return {id}
end
sessions.store(id, employee, population, created, ends, ARGV[7])
local evicted = redis.call('ZRANGE', key('e:' .. employee), 0, -1 - most)
for _, oldest in ipairs(evicted) do
  sessions.revoke('session', oldest, sessions.revocation_time())
end
if #evicted > 0 then wake('revocation') end
return evicted
