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

-- What workers told steward.lua, as a flat list {incarnation, age (ms), JSON, ...}; what those told who
-- are not to be kept is forgotten.
local function figures_told(keep)
  local key = K.prefix .. 'figures'
  local all, list = redis.call('HGETALL', key), {}
  for i = 1, #all, 2 do
    if keep(all[i]) then
      local at, json = string.match(all[i + 1], '^(%d+) (.*)$')
      table.insert(list, all[i])
      table.insert(list, now - tonumber(at))
      table.insert(list, json)
    else
      redis.call('HDEL', key, all[i])
    end
  end
  return list
end
