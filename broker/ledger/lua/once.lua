-- Things that may be used once. ARGV: put, key, value, ttl ms | take, key | peek, key. They end by
-- ledger time; the TTL of Redis, on the wall clock, is only a broom.

local verb, name = ARGV[1], key('o:' .. ARGV[2])
local packed = redis.call('GET', name)
local value = false
if packed then
  local ends, rest = string.match(packed, '^(%d+) (.*)$')
  if tonumber(ends) > now then
    value = rest
  end
end
if verb == 'peek' then
  return value
end
if verb == 'take' then
  redis.call('DEL', name)
  return value
end
if value then
  return 0
end
local ttl = tonumber(ARGV[4])
redis.call('SET', name, whole(now + ttl) .. ' ' .. ARGV[3], 'PX', whole(2 * ttl + 60000))
return 1
