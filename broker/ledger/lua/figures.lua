-- What the workers have told to steward.lua: a flat list {incarnation, age (ms), JSON, ...}.
local all, list = redis.call('HGETALL', K.prefix .. 'figures'), {}
for i = 1, #all, 2 do
  local at, json = string.match(all[i + 1], '^(%d+) (.*)$')
  table.insert(list, all[i])
  table.insert(list, now - tonumber(at))
  table.insert(list, json)
end
return list
