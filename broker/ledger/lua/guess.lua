-- Counts tries of passwords and bans by them; the rules are policy/guessing.py's.
-- ARGV: count, employee, address, browser, window, ban, per_pair, per_address, free, slowest
--     | settle, right (1: the password was right, 0: it was never tried), tally...
--     | banned, address | list, most | clear, all | clear, employee, NAME | clear, address, ADDRESS
--
--   g:TALLY  string  "count ends"; TALLY: p ADDRESS EMPLOYEE | k BROWSER EMPLOYEE | a ADDRESS | e EMPLOYEE
--   bans     zset    TALLY -> ledger time (ms) at which the ban ends

local FIRST_DELAY = 250
local CODES = 'codes'  -- stands for an address where codes of a second factor are counted
local bans = key('bans')
redis.call('ZREMRANGEBYSCORE', bans, '-inf', whole(now))

local function read(tally)
  local packed = redis.call('GET', key('g:' .. tally))
  if not packed then return 0, 0 end
  local count, ends = string.match(packed, '^(%d+) (%d+)$')
  if tonumber(ends) <= now then return 0, 0 end
  return tonumber(count), tonumber(ends)
end

local function write(tally, count, ends)
  local broom = whole(2 * (ends - now) + 60000)  -- the TTL of Redis is on the wall clock
  redis.call('SET', key('g:' .. tally), whole(count) .. ' ' .. whole(ends), 'PX', broom)
end

local function forget(tally)
  redis.call('DEL', key('g:' .. tally))
  return redis.call('ZREM', bans, tally)
end

local function banned_for(tally)
  local ends = redis.call('ZSCORE', bans, tally)
  return ends and tonumber(ends) - now or 0
end

local verb = ARGV[1]

if verb == 'banned' then
  return banned_for('a ' .. ARGV[2])
end

if verb == 'list' then
  local flat = {whole(now)}
  for _, value in ipairs(redis.call('ZREVRANGE', bans, 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')) do
    flat[#flat + 1] = value
  end
  return flat
end

if verb == 'clear' then
  local cleared = 0
  for _, tally in ipairs(redis.call('ZRANGE', bans, 0, -1)) do
    local letter, where, employee = string.match(tally, '^(%a) (%S*) ?(.*)$')
    if ARGV[2] == 'all' or (ARGV[2] == 'employee' and letter ~= 'a' and employee == ARGV[3])
      or (ARGV[2] == 'address' and letter ~= 'k' and where == ARGV[3] and where ~= CODES) then
      cleared = cleared + forget(tally)
    end
  end
  if ARGV[2] == 'employee' then forget('e ' .. ARGV[3]) end
  return cleared
end

if verb == 'settle' then
  for index = 3, #ARGV do
    local tally = ARGV[index]
    local letter = string.sub(tally, 1, 1)
    if ARGV[2] == '1' and (letter == 'p' or letter == 'k') then
      forget(tally)
    else
      local count, ends = read(tally)
      if count > 0 then
        write(tally, count - 1, ends)
        redis.call('ZREM', bans, tally)
      end
    end
  end
  return 1
end

local employee, address, browser = ARGV[2], ARGV[3], ARGV[4]
local window, ban = tonumber(ARGV[5]), tonumber(ARGV[6])
local per_pair, per_address = tonumber(ARGV[7]), tonumber(ARGV[8])
local free, slowest = tonumber(ARGV[9]), tonumber(ARGV[10])

-- count, 1 when this try brought a ban
local function one_more(tally, most)
  local count, ends = read(tally)
  if count == 0 then ends = now + window end
  count = count + 1
  local brought = 0
  if most > 0 and count >= most then
    ends = now + ban
    redis.call('ZADD', bans, whole(ends), tally)
    brought = 1
  end
  write(tally, count, ends)
  return count, brought
end

-- {verdict, ms, bans of pairs brought, bans of addresses brought, tally...}
local own = 'k ' .. browser .. ' ' .. employee
if browser ~= '' and banned_for(own) == 0 then
  local _, brought = one_more(own, per_pair)
  return {'allowed', 0, brought, 0, own}
end
if address == CODES then
  local pair = 'p ' .. CODES .. ' ' .. employee
  local left = banned_for(pair)
  if left > 0 then return {'pair', left, 0, 0} end
  local _, brought = one_more(pair, per_pair)
  return {'allowed', 0, brought, 0, pair}
end
local counted = {}
local pairs_brought, addresses_brought = 0, 0
if address ~= '' then
  local pair, all = 'p ' .. address .. ' ' .. employee, 'a ' .. address
  local left = banned_for(all)
  if left > 0 then return {'address', left, 0, 0} end
  left = banned_for(pair)
  if left > 0 then return {'pair', left, 0, 0} end
  local _, brought = one_more(pair, per_pair)
  pairs_brought = brought
  _, addresses_brought = one_more(all, per_address)
  counted = {pair, all}
end
local everywhere = 'e ' .. employee
local beyond = one_more(everywhere, 0) - free
local wait = 0
if beyond > 0 then wait = math.min(slowest, FIRST_DELAY * 2 ^ math.min(beyond - 1, 20)) end
return {'allowed', wait, pairs_brought, addresses_brought, everywhere, unpack(counted)}
