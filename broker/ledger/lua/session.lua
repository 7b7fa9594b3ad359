-- One session's record. ARGV: id.

return sessions.valid_record(ARGV[1])
