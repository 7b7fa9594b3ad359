-- One session's record: {1, record}, {0} for none; {2} when it may be one that is not written back
-- yet after the memory was lost. ARGV: id.

local record = sessions.valid_record(ARGV[1])
if record then return {1, record} end
return {learning and not sessions.owner_of(ARGV[1]) and 2 or 0}
