-- Continue deleting what revocations name; returns how many of them are not finished.

sessions.purge(500)
seats.run_calls()
return redis.call('ZCARD', key('purges'))
