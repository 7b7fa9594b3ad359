-- Append a revocation. ARGV: kind, subject. Returns its number, and how many large ones are still
-- deleting records (purge.lua continues).

local number = sessions.revoke(ARGV[1], ARGV[2], sessions.revocation_time())
seats.run_calls()
wake('revocation')
return {number, redis.call('ZCARD', key('purges'))}
