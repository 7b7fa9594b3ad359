-- Things that may be used once. ARGV: put, key, value, ttl ms, most, kind | take, key | peek, key.
-- They end by ledger time; the TTL of Redis, on the wall clock, is only a broom. `most` bounds how many
-- of a kind are kept (0: all): the oldest goes, because strangers may make the rest.

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
local ttl, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local broom = whole(2 * ttl + 60000)
redis.call('SET', name, whole(now + ttl) .. ' ' .. ARGV[3], 'PX', broom)
if most > 0 then
  local order = key('order:' .. ARGV[6])
  if redis.call('RPUSH', order, name) > most then
    redis.call('DEL', redis.call('LPOP', order))
  end
  redis.call('PEXPIRE', order, broom)
end
return 1
