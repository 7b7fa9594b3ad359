-- The document in force: {number, document}, or {0}.
return {tonumber(ledger.limits) or 0, redis.call('GET', K.limits)}
