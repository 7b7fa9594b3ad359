-- The audit trail. ARGV: most entries wanted, number before which they must lie (0: the latest).
-- Returns {number of the first, entries as written by `record_audit`}.
local most, before = tonumber(ARGV[1]), tonumber(ARGV[2])
local length = redis.call('LLEN', K.prefix .. 'audit')
local last = before > 0 and math.min(before - 1, length) or length
local first = math.max(1, last - most + 1)
if last < 1 then return {1, {}} end
return {first, redis.call('LRANGE', K.prefix .. 'audit', first - 1, last - 1)}
