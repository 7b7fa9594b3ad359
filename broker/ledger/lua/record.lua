-- One entry of the audit trail about what is no change of the limits. ARGV: the entry as JSON.
return record_audit(ARGV[1], tonumber(ledger.limits) or 0)
