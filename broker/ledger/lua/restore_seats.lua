-- A worker writes back seats it knows: set if absent. ARGV: JSON array of [employee, population,
-- idle_ms]. Into an empty book every seat goes, for it is held in truth, also above a lowered limit.
-- Where seats outlived the change of epoch they may be older than what the worker knows (a place
-- given on since), so there, and after learning, only as many as may be taken now.

local blank = learning and redis.call('HGET', key('session_meta'), 'seats_survived') ~= '1'
for _, row in ipairs(cjson.decode(ARGV[1])) do
  local employee, population, idle = row[1], row[2], math.max(0, row[3])
  local held = seats.population_of_seat(employee)
  if held then
    seats.touch(employee, held, now - idle)
  elseif blank or seats.may_take(population) then
    local ticket = seats.ticket(employee)
    if ticket then
      seats.drop_ticket(employee, ticket)
    end
    seats.occupy(employee, population, now - idle)
  end
end
return 1
