-- Tickets of former epochs, as their owners' browsers or a worker that knew them show them.
-- ARGV: JSON array of [employee, population, number, epoch, silent_ms]. One of this epoch is not put
-- back: what the book says of it is true.

for _, row in ipairs(cjson.decode(ARGV[1])) do
  if row[4] ~= ledger.epoch then
    seats.put_back(row[1], row[2], row[3], row[5])
  end
end
return 1
