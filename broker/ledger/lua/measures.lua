-- What what-if needs beside usage.lua. ARGV: idle times (ms). Returns {the steward's notes, a flat list
-- {population, seats idle for longer than each of the times, ...}, scripts run so far, microseconds
-- they took together (both -1: the server does not tell)}.
local rows = {}
for _, name in ipairs(seats.populations()) do
  rows[#rows + 1] = name
  for _, idle in ipairs(ARGV) do
    local before = '(' .. string.format('%.0f', now - tonumber(idle))
    rows[#rows + 1] = redis.call('ZCOUNT', K.prefix .. 'act:' .. name, '-inf', before)
  end
end
local statistics = redis.call('INFO', 'commandstats')
local calls, microseconds = string.match(statistics, 'cmdstat_evalsha:calls=(%d+),usec=(%d+)')
local notes = redis.call('HGET', K.prefix .. 'steward', 'notes') or ''
return {notes, rows, tonumber(calls or -1), tonumber(microseconds or -1)}
