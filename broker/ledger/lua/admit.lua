-- Take, keep or claim the seats of some employees; else take or keep tickets.
-- ARGV: employee, population, employee, population, ... Returns an answer for each, in that order.
-- Several at once cost little more than one: what every call begins with, and the calls, are shared.

local answers, asked = {}, {}

-- What can be said before the calls; nil: the employee has a ticket and the calls decide.
local function at_once(employee, population)
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
  if ticket and (ticket.ended or not seats.admitted(ticket.population)) then
    seats.drop_ticket(employee, ticket)  -- should it be admitted again: a new ticket, at the end
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
    return nil
  end
  if not seats.admitted(population) then
    return seats.answer('not_admitted', population)
  end
  -- Straight in, when nobody present waits anywhere. Otherwise through the queue, where the calls
  -- below decide whose turn it is: nobody is overtaken.
  if redis.call('ZCARD', key('ticket_seen')) == 0 and seats.may_take(population) then
    seats.occupy(employee, population, now)
    return seats.answer('seated', population)
  end
  seats.new_ticket(employee, population)
  return nil
end

local function after_the_calls(employee)
  local seated = seats.population_of_seat(employee)
  if seated then  -- named twice in ARGV
    return seats.answer('seated', seated)
  end
  local ticket = seats.ticket(employee)
  if not ticket then  -- the sweep ended the employee's last session
    return seats.answer('gone', '')
  end
  if ticket.called then
    seats.claim(employee, ticket)
    return seats.answer('seated', ticket.population)
  end
  return seats.answer('waiting', ticket.population, ticket)
end

local calls_due = false
for index = 1, #ARGV, 2 do
  local answer = at_once(ARGV[index], ARGV[index + 1])
  answers[#answers + 1] = answer or false
  calls_due = calls_due or not answer or answer[1] == 'not_admitted'
end
if calls_due then
  seats.run_calls()
end
for index, answer in ipairs(answers) do
  answers[index] = answer or after_the_calls(ARGV[2 * index - 1])
end
return answers
