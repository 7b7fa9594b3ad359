-- Runs after the libraries, before the script: what every call does first.
if new_epoch then seats.epoch_changed() end
grants.pass_time()

-- Wakes every worker before its tick. A lost message costs that tick, no more.
local function wake(why)
  redis.call('PUBLISH', WAKE, why)
end

-- Appends to the audit trail, which nothing ever shortens: "civil time, version of the limits, entry".
local function record_audit(entry, version)
  return redis.call('RPUSH', K.prefix .. 'audit', wall_ms() .. ' ' .. version .. ' ' .. entry)
end
