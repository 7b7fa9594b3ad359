-- Tokens of the admin API, by name. ARGV: put, name, audit entry, token as JSON | drop, name, audit entry
-- | list. Returns 1 when it was done, 0 when the name is taken (put) or unknown (drop); the tokens.
local verb, name, entry = ARGV[1], ARGV[2], ARGV[3]
local tokens = key('tokens')
if verb == 'list' then return redis.call('HVALS', tokens) end
local done
if verb == 'put' then
  done = redis.call('HSETNX', tokens, name, ARGV[4])
else
  done = redis.call('HDEL', tokens, name)
end
if done == 1 then record_audit(entry, tonumber(ledger.limits) or 0) end
return done
