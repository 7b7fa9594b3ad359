-- One worker's sync. ARGV[1]: its report as JSON (see book_grants.py).
-- Returns {epoch, learning, now, caps, leases, starved, lost seats, revocations, limits, queues, bases,
-- lost tickets}.
local report = cjson.decode(ARGV[1])
local learned_before = not learning

local same_epoch = report.epoch == ledger.epoch

-- A worker that has not heard of this epoch has not written its seats back: none of them is lost.
local lost = same_epoch and seats.apply_touches(report.touches) or {}
seats.apply_promises(report.promises)
sessions.apply_used(report.sessions_used or {})
local no_ticket = seats.apply_presence(report.present)
local caps, leases, starved, others_have_reason, bases = grants.sync(report)
seats.run_calls()

local known_revocation = same_epoch and report.revocations_known or 0
local number = tonumber(ledger.limits) or 0
local document = {}
if number > 0 and (not same_epoch or report.limits_known ~= number) then
  document = {number, redis.call('GET', K.limits)}
end
if others_have_reason or (learned_before ~= not learning) then wake('grants') end

local function flat(of)
  local list = {}
  for name, value in pairs(of) do
    table.insert(list, name)
    table.insert(list, value)
  end
  return list
end
return {
  ledger.epoch, learning and 1 or 0, now, flat(caps), flat(leases), starved, lost,
  sessions.revocations_after(known_revocation), document,
  seats.queues(report.calls_known), flat(bases), same_epoch and no_ticket or {},
}
