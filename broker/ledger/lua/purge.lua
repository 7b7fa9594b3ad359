-- Continue deleting what revocations name; returns how many of them are not finished.

if learning then
  sessions.purge(500)
else
  seats.run_calls()  -- its sweeps purge first
end
return redis.call('ZCARD', key('purges'))
