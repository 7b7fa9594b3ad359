-- Log out. ARGV: id. The revocation is written even when the record is unknown: workers may still
-- trust the token's signature, or know the session from before the ledger lost its memory. Returns
-- 1 if there was a record.

local id = ARGV[1]
local existed = redis.call('HEXISTS', key('session_owner'), id)
if not sessions.revocation_of('session', id) then
  sessions.revoke('session', id, sessions.revocation_time())
  seats.run_calls()
  wake('revocation')
end
return existed
