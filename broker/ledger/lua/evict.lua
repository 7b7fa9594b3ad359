-- End idle seats down to the limits in force, as broker/policy/eviction.py decides. ARGV: the most.
-- Returns how many were ended. Called again until it is 0.
local left, ended = tonumber(ARGV[1]), 0
local limits = seats.limits()

local function longest_idle(population)
  local entry = redis.call('ZRANGE', K.prefix .. 'act:' .. population, 0, 0, 'WITHSCORES')
  local activity = entry[1] and tonumber(entry[2])
  if activity and now - activity > limits.idle then
    return {employee = entry[1], activity = activity, population = population}
  end
end

local function finish(seat)
  seats.vacate(seat.employee, seat.population)
  left, ended = left - 1, ended + 1
end

if learning then
  return 0
end
local total = 0
for _, name in ipairs(seats.populations()) do
  local own = limits.by_name[name]
  while left > 0 and own and seats.held(name) > own.maximum do
    local seat = longest_idle(name)
    if not seat then break end
    finish(seat)
  end
  total = total + seats.held(name)
end
while left > 0 and total > limits.limit do
  local longest
  for _, name in ipairs(seats.populations()) do
    local seat = longest_idle(name)
    if seat and (not longest or seat.activity < longest.activity) then longest = seat end
  end
  if not longest then break end
  finish(longest)
  total = total - 1
end
seats.run_calls()
return ended
