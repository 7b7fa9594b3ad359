-- Give seat and ticket back; twice changes nothing. ARGV: employee. Returns 1 if anything was held.

if not seats.give_back(ARGV[1]) then
  return 0
end
seats.run_calls()
return 1
