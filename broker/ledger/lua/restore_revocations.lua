-- After the ledger lost its memory a worker writes back the revocations it knows, with the time they
-- had and a new number. ARGV: JSON array of [kind, subject, ms].

for _, row in ipairs(cjson.decode(ARGV[1])) do
  local kind, subject, ms = row[1], row[2], row[3]
  local known = sessions.revocation_of(kind, subject)
  if not known or (kind ~= 'session' and tonumber(known) < ms) then
    sessions.revoke(kind, subject, ms)
  end
end
seats.run_calls()
return 1
