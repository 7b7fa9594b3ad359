-- An employee's sessions, the oldest first: {record, when it was used last, ...}. ARGV: employee.

local flat = {}
for _, id in ipairs(redis.call('ZRANGE', key('e:' .. ARGV[1]), 0, -1)) do
  sessions.append_record(flat, id)
end
return flat
