-- Replaces the limits document. ARGV: number it must replace (0: none), number the document says it
-- had, document, its extract for grants, for seats, longest lease in it (ms), first start (1 or 0),
-- entry for the audit trail ('' for none).
-- Returns {number, published (1 or 0)}.
local current = tonumber(ledger.limits) or 0
if current ~= tonumber(ARGV[1]) then return {current, 0} end

-- A document that a worker writes back after a fault keeps counting from the number it had.
local number = math.max(current, tonumber(ARGV[2])) + 1
local longest = tonumber(ARGV[6])
if redis.call('HLEN', K.workers) > 0 then
  -- Leases told under the former document may still run.
  longest = math.max(longest, tonumber(ledger.lease) or DEFAULT_LEASE_MS)
end
ledger.limits, ledger.lease = number, longest
redis.call('SET', K.limits, ARGV[3])
redis.call('SET', K.grant_limits, ARGV[4])
redis.call('SET', K.seat_limits, ARGV[5])
redis.call('HSET', K.meta, 'limits', number, 'lease', longest)
if ARGV[8] ~= '' then record_audit(ARGV[8], number) end
if ARGV[7] == '1' and ledger.known == '0' then grants.stop_learning() end
seats.limits_changed()
seats.run_calls()
wake('limits')
return {number, 1}
