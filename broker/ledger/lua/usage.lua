-- One snapshot: {now, epoch, learning, {number, document}, seats, workers, estimates}.
return {
  now, ledger.epoch, learning and 1 or 0, {tonumber(ledger.limits) or 0, redis.call('GET', K.limits)},
  seats.usage(), redis.call('HGETALL', K.workers), seats.estimates(),
}
