-- Runs after the libraries, before the script: what every call does first.
if new_epoch then seats.epoch_changed() end
grants.pass_time()

-- Wakes every worker before its tick. A lost message costs that tick, no more.
local function wake(why)
  redis.call('PUBLISH', WAKE, why)
end
