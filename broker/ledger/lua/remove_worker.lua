-- A worker's grants come back. ARGV: incarnation, 1: certainly dead (tombstone) or 0: forgotten by an
-- operator. Returns 1 if it was known.
local known
if ARGV[2] == '1' then known = grants.bury(ARGV[1]) else known = grants.forget(ARGV[1]) end
grants.end_learning()
seats.run_calls()
if known then wake('grants') end
return known and 1 or 0
