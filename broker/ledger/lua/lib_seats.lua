-- Seats and tickets as Redis holds them, and the arithmetic of broker/policy/seats.py once more.
-- Concatenated behind the prelude, which gives: now (ledger ms), learning, K.prefix.
--
--   seats                 hash  employee -> population the seat was taken under
--   act:POPULATION        zset  employee -> last activity (ms): the seats occupied
--   tickets               hash  employee -> "number population"; number 0: ended, not admitted
--   queue:POPULATION      zset  employee -> number: tickets that wait and are present
--   ticket_seen           zset  employee -> last poll (ms) of those
--   called:POPULATION     zset  employee -> when it was called (ms): seats reserved
--   ticket_silent         zset  employee -> silent since (ms): absent, unclaimed or ended tickets
--   ticket_numbers        hash  population -> last number given
--   called_upto           hash  population -> highest number called
--   promises              zset  employee -> until when a call was promised (ms); 0: it was called
--   estimates             hash  shown, kept: promises that ended with a call, and in time
--   calls:POPULATION      hash  stretch of time (forecast.py) -> calls in it: those in which
--                               somebody waited
--   put_back              set   employees whose ticket of a former epoch came back in this one
--   seat_populations      zset  every population that ever had a seat or ticket, score 0
--
-- A ticket is in exactly one of queue, called, silent. Everything here is O(log n) an entry. Numbers
-- of a new epoch begin above its ledger time (session_meta, ticket_base), hence above those of all
-- former ones: a ticket that is put back at its old number comes before whoever is new.

local seats = {}

local STRETCH_MS = 10000
local STRETCHES = 60
local EVERY_RANK = 32
local WIDER_BY = 8

-- Sweeps of other books, run before the calls: function(budget) -> entries used.
seats.sweeps = {}

local function key(name)
  return K.prefix .. name
end

-- Redis would write a large Lua number as 1e+15; times and numbers are whole.
local function whole(number)
  return string.format('%.0f', number)
end

-- {order, by_name, limit, idle, claim, absent, lost}; nobody is admitted before the first publication.
local function read_limits()
  local text = redis.call('GET', key('seat_limits'))
  local limits = text and cjson.decode(text)
    or {limit = 0, idle = 0, claim = 0, absent = 0, lost = 0, populations = {}}
  limits.order, limits.by_name = {}, {}
  for index, row in ipairs(limits.populations) do
    local admitted, maximum = row[2], row[3]
    limits.order[index] = row[1]
    limits.by_name[row[1]] = {
      admitted = admitted,
      maximum = maximum,
      guaranteed = admitted and math.min(row[4], maximum) or 0,
      lendable = row[5],
      weight = row[6],
      on_call = row[7] or 0,
    }
  end
  return limits
end

local limits_read, populations_read
function seats.limits()
  limits_read = limits_read or read_limits()
  return limits_read
end

-- For a script that has just written other limits.
function seats.limits_changed()
  limits_read, populations_read = nil, nil
end

-- ms; also while the limits are not written back yet.
function seats.lost_after()
  local lost = seats.limits().lost
  return lost > 0 and lost or 1800000
end

function seats.admitted(population)
  local own = seats.limits().by_name[population]
  return own ~= nil and own.admitted
end

-- All populations: those of the document in its order, then those it no longer names.
function seats.populations()
  if populations_read then
    return populations_read
  end
  local limits = seats.limits()
  local names = {}
  for index, name in ipairs(limits.order) do
    names[index] = name
  end
  for _, name in ipairs(redis.call('ZRANGE', key('seat_populations'), 0, -1)) do
    if not limits.by_name[name] then
      names[#names + 1] = name
    end
  end
  populations_read = names
  return names
end

-- held: population -> occupied + called; held_total: their sum. Read once a call, kept up to date by
-- every function below.
local held, held_total
local function count_held()
  if held then
    return
  end
  held, held_total = {}, 0
  for _, name in ipairs(seats.populations()) do
    held[name] = redis.call('ZCARD', key('act:' .. name)) + redis.call('ZCARD', key('called:' .. name))
    held_total = held_total + held[name]
  end
end

local function add_held(population, change)
  count_held()
  held[population] = (held[population] or 0) + change
  held_total = held_total + change
end

function seats.held(population)
  count_held()
  return held[population] or 0
end

local function never_lent(own, holds)
  return math.max(0, own.guaranteed - math.floor(own.guaranteed * own.lendable) - holds)
end

local function not_lent_now(own, holds)
  local unused = math.max(0, own.guaranteed - holds)
  return unused - math.floor(unused * own.lendable)
end

function seats.is_owner(population)
  local own = seats.limits().by_name[population]
  return own ~= nil and seats.held(population) < own.guaranteed
end

-- policy.seats.shortage: seats that must come back before population may take one; nil: hopeless.
-- changes: population -> seats imagined to be returned (and changes.total their sum), or nil.
function seats.shortage(population, changes)
  local limits = seats.limits()
  local own = limits.by_name[population]
  if not own or not own.admitted or own.maximum < 1 or limits.limit < 1 then
    return nil
  end
  count_held()
  local function holds_of(name)
    return (held[name] or 0) - (changes and changes[name] or 0)
  end
  local holds = holds_of(population)
  if holds >= own.maximum then
    return holds - own.maximum + 1
  end
  local kept, reserve = 0, nil
  if holds >= own.guaranteed then
    reserve = not_lent_now
  elseif never_lent(own, holds) == 0 then
    reserve = never_lent
  end
  if reserve then
    for _, name in ipairs(limits.order) do
      if name ~= population then
        kept = kept + reserve(limits.by_name[name], holds_of(name))
      end
    end
  end
  local total = held_total - (changes and changes.total or 0)
  return math.max(0, total + 1 + kept - limits.limit)
end

function seats.may_take(population)
  return seats.shortage(population) == 0
end

-- --- seats

function seats.population_of_seat(employee)
  return redis.call('HGET', key('seats'), employee)
end

local function know(population)
  if redis.call('ZADD', key('seat_populations'), 0, population) == 1 then
    populations_read = nil
  end
end

function seats.occupy(employee, population, activity)
  count_held()
  know(population)
  redis.call('HSET', key('seats'), employee, population)
  redis.call('ZADD', key('act:' .. population), whole(activity), employee)
  add_held(population, 1)
end

function seats.vacate(employee, population)
  count_held()
  redis.call('HDEL', key('seats'), employee)
  redis.call('ZREM', key('act:' .. population), employee)
  add_held(population, -1)
end

-- Activity only moves forward.
function seats.touch(employee, population, activity)
  redis.call('ZADD', key('act:' .. population), 'XX', 'GT', whole(activity), employee)
end

-- list: employee, idle_ms, employee, idle_ms, ... Returns the employees that hold no seat.
function seats.apply_touches(list)
  local lost = {}
  for index = 1, #list, 2 do
    local employee = list[index]
    local population = seats.population_of_seat(employee)
    if population then
      seats.touch(employee, population, now - math.max(0, tonumber(list[index + 1])))
    else
      lost[#lost + 1] = employee
    end
  end
  return lost
end

-- --- tickets

-- {number, population, ended, called (ms or nil)} or nil
function seats.ticket(employee)
  local packed = redis.call('HGET', key('tickets'), employee)
  if not packed then
    return nil
  end
  local number, population = string.match(packed, '^(%d+) (.+)$')
  number = tonumber(number)
  local called = number > 0 and redis.call('ZSCORE', key('called:' .. population), employee)
  return {
    number = number,
    population = population,
    ended = number == 0,
    called = called and tonumber(called) or nil,
  }
end

local function ticket_base()
  return tonumber(redis.call('HGET', key('session_meta'), 'ticket_base') or 0)
end

local function last_number(population)
  return tonumber(redis.call('HGET', key('ticket_numbers'), population) or 0)
end

local function store_ticket(employee, population, number, seen)
  count_held()
  know(population)
  if number > last_number(population) then
    redis.call('HSET', key('ticket_numbers'), population, whole(number))
  end
  redis.call('HSET', key('tickets'), employee, whole(number) .. ' ' .. population)
  redis.call('ZADD', key('queue:' .. population), whole(number), employee)
  redis.call('ZADD', key('ticket_seen'), whole(seen), employee)
end

function seats.new_ticket(employee, population)
  local number = math.max(last_number(population), ticket_base()) + 1
  store_ticket(employee, population, number, now)
end

-- A ticket of a former epoch, shown by its owner's browser or by a worker that knew it: back at its
-- old number, once per employee, unless there is a seat, or a ticket that outlived the change of
-- epoch. One taken since gives way: the old place is the better one.
function seats.put_back(employee, population, number, silent)
  if silent > seats.lost_after() or seats.population_of_seat(employee) then
    return
  end
  if redis.call('SADD', key('put_back'), employee) == 0 then
    return
  end
  local ticket = seats.ticket(employee)
  if ticket and (ticket.called or (not ticket.ended and ticket.number <= ticket_base())) then
    return
  end
  if ticket then
    seats.drop_ticket(employee, ticket)
  end
  store_ticket(employee, population, number, now - math.max(0, silent))
end

-- The ticket is heard of now: back into the queue at its own number, unless it is called.
function seats.heard(employee, ticket)
  if ticket.called or ticket.ended then
    return
  end
  redis.call('ZREM', key('ticket_silent'), employee)
  redis.call('ZADD', key('queue:' .. ticket.population), whole(ticket.number), employee)
  redis.call('ZADD', key('ticket_seen'), whole(now), employee)
end

function seats.silence(employee, population, since)
  redis.call('ZREM', key('queue:' .. population), employee)
  redis.call('ZREM', key('ticket_seen'), employee)
  redis.call('ZADD', key('ticket_silent'), whole(since), employee)
end

-- Some calls, or none, in the present stretch, in which somebody waits.
local function enter_calls(population, count)
  local book, present = key('calls:' .. population), math.floor(now / STRETCH_MS)
  redis.call('HINCRBY', book, whole(present), count)
  if redis.call('HLEN', book) > 2 * STRETCHES then
    for _, stretch in ipairs(redis.call('HKEYS', book)) do
      if tonumber(stretch) < present - STRETCHES then
        redis.call('HDEL', book, stretch)
      end
    end
  end
end

function seats.call(employee, population)
  count_held()
  local number = redis.call('ZSCORE', key('queue:' .. population), employee)
  redis.call('ZREM', key('queue:' .. population), employee)
  redis.call('ZREM', key('ticket_seen'), employee)
  redis.call('ZADD', key('called:' .. population), whole(now), employee)
  local upto = redis.call('HGET', key('called_upto'), population)
  if not upto or tonumber(number) > tonumber(upto) then
    redis.call('HSET', key('called_upto'), population, whole(tonumber(number)))
  end
  add_held(population, 1)
  enter_calls(population, 1)
  local promised = tonumber(redis.call('ZSCORE', key('promises'), employee) or 0)
  if promised > 0 then
    redis.call('HINCRBY', key('estimates'), 'shown', 1)
    if now <= promised then
      redis.call('HINCRBY', key('estimates'), 'kept', 1)
    end
    redis.call('ZADD', key('promises'), 0, employee)
  end
end

-- The reserved seat is freed, the number kept.
function seats.uncall(employee, ticket)
  count_held()
  redis.call('ZREM', key('called:' .. ticket.population), employee)
  redis.call('ZADD', key('ticket_silent'), whole(now), employee)
  ticket.called = nil
  add_held(ticket.population, -1)
end

function seats.claim_left(ticket)
  return math.max(0, ticket.called + seats.limits().claim - now)
end

-- Forget the ticket altogether, wherever it is.
function seats.drop_ticket(employee, ticket)
  if ticket.called then
    seats.uncall(employee, ticket)
  end
  redis.call('HDEL', key('tickets'), employee)
  redis.call('ZREM', key('queue:' .. ticket.population), employee)
  redis.call('ZREM', key('ticket_seen'), employee)
  redis.call('ZREM', key('ticket_silent'), employee)
  redis.call('ZREM', key('promises'), employee)
end

-- Its population is not admitted any more: what is left is a note that says so to who asks.
function seats.end_ticket(employee, ticket)
  seats.drop_ticket(employee, ticket)
  redis.call('HSET', key('tickets'), employee, '0 ' .. ticket.population)
  redis.call('ZADD', key('ticket_silent'), whole(now), employee)
  ticket.number, ticket.ended = 0, true
end

-- The called ticket becomes the seat it reserved.
function seats.claim(employee, ticket)
  seats.drop_ticket(employee, ticket)
  seats.occupy(employee, ticket.population, now)
end

-- Employees that polled the waiting room. Returns those who have no ticket that could be called.
function seats.apply_presence(list)
  local lost = {}
  for _, employee in ipairs(list) do
    local ticket = seats.ticket(employee)
    if ticket then
      seats.heard(employee, ticket)
    end
    if not ticket or ticket.ended then
      lost[#lost + 1] = employee
    end
  end
  return lost
end

-- list: employee, ms, employee, ms, ...: a page told them that they would be called within ms. The
-- first promise counts, and only to who waits.
function seats.apply_promises(list)
  for index = 1, #list, 2 do
    local employee = list[index]
    local ticket = seats.ticket(employee)
    if ticket and not ticket.called and not ticket.ended then
      redis.call('ZADD', key('promises'), 'NX', whole(now + tonumber(list[index + 1])), employee)
    end
  end
end

-- {shown, kept}
function seats.estimates()
  local shown, kept = unpack(redis.call('HMGET', key('estimates'), 'shown', 'kept'))
  return {tonumber(shown or 0), tonumber(kept or 0)}
end

-- Seat and ticket go; true if there was either. The caller runs the calls.
function seats.give_back(employee)
  local population = seats.population_of_seat(employee)
  if population then
    seats.vacate(employee, population)
  end
  local ticket = seats.ticket(employee)
  if ticket then
    seats.drop_ticket(employee, ticket)
  end
  return (population or ticket) and true or false
end

-- Position 1 is next; absent tickets are not counted.
function seats.position(ticket)
  return redis.call('ZCOUNT', key('queue:' .. ticket.population), '-inf', '(' .. whole(ticket.number)) + 1
end

-- --- what others report

-- rank, number, rank, number, ...: policy/standing.py explains them.
local function marks(name, waiting)
  local flat = {}
  if waiting == 0 then
    return flat
  end
  local book = key('queue:' .. name)
  local first = redis.call('ZRANGE', book, 0, EVERY_RANK - 1, 'WITHSCORES')
  for index = 2, #first, 2 do
    flat[#flat + 1] = index / 2 - 1
    flat[#flat + 1] = tonumber(first[index])
  end
  local rank = EVERY_RANK - 1
  while rank < waiting - 1 do
    rank = math.min(waiting - 1, rank + math.max(1, math.floor(rank / WIDER_BY)))
    flat[#flat + 1] = rank
    flat[#flat + 1] = tonumber(redis.call('ZRANGE', book, rank, rank, 'WITHSCORES')[2])
  end
  return flat
end

-- stretch, calls, ...: those that are over and after `known`.
local function calls_of(name, known)
  local present, flat = math.floor(now / STRETCH_MS), {}
  if known >= present - 1 then
    return flat
  end
  local stored = redis.call('HGETALL', key('calls:' .. name))
  for index = 1, #stored, 2 do
    local stretch = tonumber(stored[index])
    if stretch > known and stretch < present and stretch >= present - STRETCHES then
      flat[#flat + 1] = stretch
      flat[#flat + 1] = tonumber(stored[index + 1])
    end
  end
  return flat
end

-- {population, waiting, called_upto, marks, calls}, ...; `known`: the last stretch that who asks
-- has heard of.
function seats.queues(known)
  local rows = {}
  for index, name in ipairs(seats.populations()) do
    local waiting = redis.call('ZCARD', key('queue:' .. name))
    local upto = tonumber(redis.call('HGET', key('called_upto'), name) or 0)
    if waiting > 0 then
      enter_calls(name, 0)
    end
    rows[index] = {name, waiting, upto, marks(name, waiting), calls_of(name, known)}
  end
  return rows
end

-- population, occupied, called, waiting, ...
function seats.usage()
  local flat = {}
  for _, name in ipairs(seats.populations()) do
    flat[#flat + 1] = name
    flat[#flat + 1] = redis.call('ZCARD', key('act:' .. name))
    flat[#flat + 1] = redis.call('ZCARD', key('called:' .. name))
    flat[#flat + 1] = redis.call('ZCARD', key('queue:' .. name))
  end
  return flat
end

-- A new epoch began. Whether seats outlived it decides how freely workers may write theirs back:
-- what survived may be older than what they know (restore.lua).
function seats.epoch_changed()
  count_held()
  redis.call(
    'HSET', key('session_meta'), 'seats_survived', held_total > 0 and '1' or '0',
    'ticket_base', whole(now)
  )
  redis.call('DEL', key('put_back'))
end

-- The site is new: numbers begin with 1.
function seats.first_start()
  redis.call('HSET', key('session_meta'), 'ticket_base', 0)
end

-- What admit and look answer; see broker/ledger/book_seats.py.
function seats.answer(state, population, ticket)
  local number, position, left = false, false, false
  if ticket and not ticket.ended then
    number = ticket.number
    if ticket.called then
      left = seats.claim_left(ticket)
    else
      position = seats.position(ticket)
    end
  end
  return {state, population, number, position, left, now, false, ledger.epoch}
end
