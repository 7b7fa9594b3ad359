-- An operator takes a ticket away; a seat stays. ARGV: employee. Returns 1 if there was one.

local ticket = seats.ticket(ARGV[1])
if not ticket or ticket.ended then
  return 0
end
seats.drop_ticket(ARGV[1], ticket)
seats.run_calls()
return 1
