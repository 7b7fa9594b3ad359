-- Runs first in every script: the keys, ledger time, the epoch. Nothing here decides anything else.
--
-- Each script is sent as prelude + libraries + its own text, and is given the same KEYS in this order.
-- Keys of a book that are made from a name (a queue, a session) start with K.prefix too: the hash tag
-- in it keeps all of them in one slot of a Cluster.
local K = {
  prefix = KEYS[1],        -- broker:{SITE}:
  meta = KEYS[2],          -- hash: clock, wall, epoch, run, learning, since, known, lease, limits
  limits = KEYS[3],        -- the limits document as JSON; no script reads inside
  grant_limits = KEYS[4],  -- what grants need of it, JSON arrays (order kept)
  seat_limits = KEYS[5],   -- what seats need of it
  workers = KEYS[6],       -- hash: incarnation -> JSON of its last report and what is booked for it
  held = KEYS[7],          -- hash: pool/population -> what is booked for all workers together
  wants = KEYS[8],         -- hash: incarnation -> JSON of its standing wants
  leases = KEYS[9],        -- zset: "pool incarnation" -> ledger time at which it lapses
  unheard = KEYS[10],      -- set: workers of the former epoch that have not reported in this one
  dead = KEYS[11],         -- zset: tombstones -> ledger time at which they may be forgotten
}
local WAKE = K.prefix .. 'wake'

local function wall_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local ledger = {}
do
  local fields = {'clock', 'wall', 'epoch', 'run', 'learning', 'since', 'known', 'lease', 'limits'}
  local values = redis.call('HMGET', K.meta, unpack(fields))
  for i, field in ipairs(fields) do ledger[field] = values[i] end
end

-- Ledger time in ms. A jump of the wall clock moves it by 0 or by 1 s at most; a memory that was lost
-- starts it at the wall clock, so that times which workers write back stay comparable.
local now
do
  local wall = wall_ms()
  if ledger.clock then
    now = ledger.clock + math.max(0, math.min(wall - ledger.wall, 1000))
  else
    now = wall
  end
  redis.call('HSET', K.meta, 'clock', now, 'wall', wall)
end

-- The run id tells a restart or another node; the stored epoch tells a FLUSHALL, which keeps run ids.
local learning = ledger.learning == '1'
local new_epoch = false
do
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  if not ledger.epoch or ledger.run ~= run then
    local t = redis.call('TIME')
    ledger.epoch = string.sub(redis.sha1hex(run .. t[1] .. '.' .. t[2]), 1, 20)
    new_epoch, learning = true, true
    ledger.since = now
    redis.call('DEL', K.unheard)
    local known = redis.call('HKEYS', K.workers)
    for _, incarnation in ipairs(known) do redis.call('SADD', K.unheard, incarnation) end
    ledger.known = #known > 0 and '1' or '0'
    redis.call('HSET', K.meta, 'epoch', ledger.epoch, 'run', run, 'learning', '1',
      'since', now, 'known', ledger.known)
  end
end
