-- A worker writes back sessions it knows: set if absent. ARGV: JSON array of
-- [id, employee, population, created, ends, record]. Returns the ids refused (revoked or past).

local refused = {}
for _, row in ipairs(cjson.decode(ARGV[1])) do
  local id, employee, population, created, ends = row[1], row[2], row[3], row[4], row[5]
  if ends <= now or sessions.is_revoked(id, employee, population, created) then
    refused[#refused + 1] = id
  elseif redis.call('EXISTS', key('s:' .. id)) == 0 then
    sessions.store(id, employee, population, created, ends, row[6])
  end
end
return refused
