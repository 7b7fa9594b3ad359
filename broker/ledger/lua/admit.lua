-- Take, keep or claim the employee's seat; else take or keep a ticket. ARGV: employee, population.

local employee, population = ARGV[1], ARGV[2]

local seated = seats.population_of_seat(employee)
if seated then
  seats.touch(employee, seated, now)
  return seats.answer('seated', seated)
end

local ticket = seats.ticket(employee)
if learning then
  if ticket then
    seats.heard(employee, ticket)
  end
  return seats.answer('learning', ticket and ticket.population or population, ticket)
end

if ticket and not seats.admitted(ticket.population) then
  seats.drop_ticket(employee, ticket)
  ticket = nil
elseif ticket and ticket.ended then
  seats.drop_ticket(employee, ticket)  -- admitted again: a new ticket, at the end
  ticket = nil
end

if ticket then
  if ticket.called and seats.claim_left(ticket) > 0 then
    seats.claim(employee, ticket)
    return seats.answer('seated', ticket.population)
  end
  if ticket.called then
    seats.uncall(employee, ticket)
  end
  seats.heard(employee, ticket)
else
  if not seats.admitted(population) then
    seats.run_calls()
    return seats.answer('not_admitted', population)
  end
  -- Straight in, when nobody present waits anywhere. Otherwise through the queue, where the calls
  -- below decide whose turn it is: nobody is overtaken.
  if redis.call('ZCARD', key('ticket_seen')) == 0 and seats.may_take(population) then
    seats.occupy(employee, population, now)
    return seats.answer('seated', population)
  end
  seats.new_ticket(employee, population)
end

seats.run_calls()
ticket = seats.ticket(employee)
if not ticket then  -- the sweep ended the employee's last session
  return seats.answer('gone', '')
end
if ticket.called then
  seats.claim(employee, ticket)
  return seats.answer('seated', ticket.population)
end
return seats.answer('waiting', ticket.population, ticket)
