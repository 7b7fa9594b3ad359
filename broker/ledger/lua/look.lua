-- The employee's state, without taking anything; of a seat also for how long it was idle (ms).
-- ARGV: employee, present ("1": a poll).

local employee, present = ARGV[1], ARGV[2] == '1'

local seated = seats.population_of_seat(employee)
if seated then
  local answer = seats.answer('seated', seated)
  answer[7] = now - tonumber(redis.call('ZSCORE', key('act:' .. seated), employee))
  return answer
end

local ticket = seats.ticket(employee)
if learning then
  if ticket and present then
    seats.heard(employee, ticket)
  end
  return seats.answer('learning', ticket and ticket.population or '', ticket)
end
if not ticket then
  return seats.answer('gone', '')
end
if not seats.admitted(ticket.population) then
  if not ticket.ended then
    seats.end_ticket(employee, ticket)
    seats.run_calls()
  end
  return seats.answer('not_admitted', ticket.population)
end
if ticket.ended then  -- its population is admitted again: asking anew is right
  seats.drop_ticket(employee, ticket)
  return seats.answer('gone', '')
end

local unclaimed = ticket.called and seats.claim_left(ticket) == 0
if unclaimed then
  seats.uncall(employee, ticket)
end
if present then
  seats.heard(employee, ticket)
end
if present or unclaimed then
  seats.run_calls()
  ticket = seats.ticket(employee)
end
if not ticket then  -- the sweep ended the employee's last session
  return seats.answer('gone', '')
end
return seats.answer(ticket.called and 'called' or 'waiting', ticket.population, ticket)
