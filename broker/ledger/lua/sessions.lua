-- The records of an employee's sessions, the oldest first. ARGV: employee.

local records = {}
for _, id in ipairs(redis.call('ZRANGE', key('e:' .. ARGV[1]), 0, -1)) do
  local record = sessions.valid_record(id)
  if record then
    records[#records + 1] = record
  end
end
return records
