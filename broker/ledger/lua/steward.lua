-- A worker says what its servers answered, and asks to be the steward. ARGV: incarnation, its figures
-- as JSON, lease (ms), notes to keep if it is the steward ('' keeps the former).
-- Returns {steward, now, wall, notes, figures} to the steward, with everybody's figures as a flat list
-- {incarnation, age (ms), JSON, ...}; to the others {steward, now, wall}.
local K_steward, K_figures = K.prefix .. 'steward', K.prefix .. 'figures'
local me, figures, lease, notes = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
redis.call('HSET', K_figures, me, now .. ' ' .. figures)

local held = redis.call('HMGET', K_steward, 'holder', 'until')
if held[1] ~= me and held[1] and tonumber(held[2]) > now then return {held[1], now, wall_ms()} end
redis.call('HSET', K_steward, 'holder', me, 'until', now + lease)
if notes ~= '' then redis.call('HSET', K_steward, 'notes', notes) end

local known, list = {}, {}
for _, incarnation in ipairs(redis.call('HKEYS', K.workers)) do known[incarnation] = true end
local all = redis.call('HGETALL', K_figures)
for i = 1, #all, 2 do
  local at, json = string.match(all[i + 1], '^(%d+) (.*)$')
  if known[all[i]] or all[i] == me then
    table.insert(list, all[i])
    table.insert(list, now - tonumber(at))
    table.insert(list, json)
  else
    redis.call('HDEL', K_figures, all[i])
  end
end
return {me, now, wall_ms(), redis.call('HGET', K_steward, 'notes') or '', list}
