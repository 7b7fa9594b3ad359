-- Every worker known: flat {incarnation, JSON of its record, ...}.
return redis.call('HGETALL', K.workers)
