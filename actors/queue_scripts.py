"""What runs inside Redis for people who look at queues and repair them. None of it reads more of a queue than its two ends.

The keys are those that `scripts` explains. Who only looks passes over a key of another type; who writes to such a key deletes it first.
"""

from actors.scripts import CLEARED

_NAMES = (
    CLEARED
    + """
local namespace = KEYS[1]
local function full(queue) return namespace .. ":" .. queue end
local function held_by(worker, queue) return namespace .. ":__acks__." .. worker .. "." .. queue end
local function seen_as(default, command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) ~= "table" or not answer.err then return answer end
    if not string.find(answer.err, "WRONGTYPE", 1, true) then return redis.call(command, key, ...) end
    unusable[#unusable + 1] = key
    return default
end
local workers = seen_as({}, "zrange", namespace .. ":__heartbeats__", -1000, -1, "withscores")
local function read(messages, id, most)
    local size = seen_as(0, "hstrlen", messages, id)
    return size, size <= most and seen_as(false, "hget", messages, id)
end
"""
)

# KEYS: namespace. ARGV: messages to read at each end, the most bytes of a message, seconds of a counter, queues.
# Returns the time in ms, {worker, heartbeat, …}, {keys of another type}, then {ids, messages, delayed, dead, {held by each worker}, acknowledged in the
# last whole minute, {id, size, message of those at the ends}, {the same of the newest dead}, how its dead are requeued} for each queue.
LOOK = (
    _NAMES
    + """
local now = redis.call("time")
local ends, most, bucket = tonumber(ARGV[1]), tonumber(ARGV[2]), math.floor(now[1] / ARGV[3])
local found = {now[1] * 1000 + math.floor(now[2] / 1000), workers, unusable}
for i = 4, #ARGV do
    local queue = full(ARGV[i])
    local length, held, done, seen = seen_as(0, "llen", queue), {}, 0, {}
    for w = 1, #workers, 2 do held[#held + 1] = seen_as(0, "scard", held_by(workers[w], ARGV[i])) end
    for back = 1, 60 / ARGV[3] do
        local count = tonumber(seen_as(false, "get", namespace .. ":__done__." .. ARGV[i] .. "." .. bucket - back) or 0)
        if count and count >= 0 and count < 1e12 then done = done + count end
    end
    local ids = seen_as({}, "lrange", queue, 0, ends - 1)
    if length > ends then
        for _, id in ipairs(redis.call("lrange", queue, math.max(ends, length - ends), -1)) do ids[#ids + 1] = id end
    end
    for _, id in ipairs(ids) do
        local size, message = read(queue .. ".msgs", id, most)
        if size > 0 then seen[#seen + 1] = {id, size, message} end
    end
    local dead = {}
    for _, id in ipairs(seen_as({}, "zrevrange", queue .. ".XQ", 0, ends - 1)) do
        local size, message = read(queue .. ".XQ.msgs", id, most)
        if size > 0 then dead[#dead + 1] = {id, size, message} end
    end
    found[#found + 1] = {
        length, seen_as(0, "hlen", queue .. ".msgs"), seen_as(0, "hlen", queue .. ".DQ.msgs"),
        seen_as(0, "zcard", queue .. ".XQ"), held, done, seen, dead, seen_as(false, "hget", namespace .. ":__again__", ARGV[i]),
    }
end
return found
"""
)

# KEYS: namespace. ARGV: queue, how many of each, the most bytes of a message.
# Returns {id, state, worker or time of death, size, message} of what workers hold, of the oldest that wait, of the newest dead.
LIST = (
    _NAMES
    + """
local queue, count, most, found = full(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local function add(messages, id, state, where)
    local size, message = read(messages, id, most)
    if size > 0 then found[#found + 1] = {id, state, where, size, message} end
end
for w = 1, #workers, 2 do
    for _, id in ipairs(seen_as({}, "srandmember", held_by(workers[w], ARGV[1]), count)) do
        add(queue .. ".msgs", id, "in flight", workers[w])
    end
end
for _, id in ipairs(seen_as({}, "lrange", queue, 0, count - 1)) do add(queue .. ".msgs", id, "waiting", "") end
local dead = seen_as({}, "zrevrange", queue .. ".XQ", 0, count - 1, "withscores")
for d = 1, #dead, 2 do add(queue .. ".XQ.msgs", dead[d], "dead", dead[d + 1]) end
return found
"""
)

# KEYS: namespace. ARGV: what to do (show, requeue or drop); the message's id; the largest message in bytes; the channel of wake-ups; the queues
# to look in.
# Returns {queue, id, state, worker or time of death, size, message} as it was before, or false where there is no such message; and the keys
# of another type, of which those that it writes to were deleted.
# A list is searched nowhere: the id of a dropped message stays in it, and the next fetch passes it over.
ACT = (
    _NAMES
    + """
local verb, id, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
for i = 5, #ARGV do
    local queue = full(ARGV[i])
    local messages, dead, delayed = queue .. ".msgs", queue .. ".XQ.msgs", queue .. ".DQ.msgs"
    local state, where, lies_in
    if seen_as(0, "hexists", dead, id) == 1 then
        state, where, lies_in = "dead", seen_as(false, "zscore", queue .. ".XQ", id) or "", dead
    elseif seen_as(0, "hexists", delayed, id) == 1 then
        state, where, lies_in = "delayed", "", delayed
    elseif seen_as(0, "hexists", messages, id) == 1 then
        state, where, lies_in = "waiting", "", messages
        for w = 1, #workers, 2 do
            if seen_as(0, "sismember", held_by(workers[w], ARGV[i]), id) == 1 then state, where = "in flight", workers[w] end
        end
    end
    if state then
        local size, message = read(lies_in, id, most)
        if verb ~= "show" and state == "in flight" then redis.call("srem", held_by(where, ARGV[i]), id) end
        if verb ~= "show" and state == "dead" then cleared("zrem", queue .. ".XQ", id) end
        if verb == "drop" then redis.call("hdel", lies_in, id) end
        if verb == "requeue" and state ~= "waiting" then
            if lies_in ~= messages then
                cleared("hset", messages, id, redis.call("hget", lies_in, id))
                redis.call("hdel", lies_in, id)
            end
            cleared("rpush", queue, id)
            redis.call("publish", ARGV[4], ARGV[i])
        end
        return {{ARGV[i], id, state, where, size, message}, unusable}
    end
end
return {false, unusable}
"""
)

# KEYS: namespace. ARGV: queue, state (waiting, delayed, dead). Returns how many went. What workers hold stays theirs.
PURGE = (
    _NAMES
    + """
local queue = full(ARGV[1])
if ARGV[2] == "dead" then
    local count = seen_as(0, "zcard", queue .. ".XQ")
    redis.call("unlink", queue .. ".XQ", queue .. ".XQ.msgs")
    return count
elseif ARGV[2] == "delayed" then
    local count = seen_as(0, "hlen", queue .. ".DQ.msgs")
    redis.call("unlink", queue .. ".DQ", queue .. ".DQ.msgs")
    return count
end
local messages, held = queue .. ".msgs", {}
for w = 1, #workers, 2 do
    for _, id in ipairs(seen_as({}, "smembers", held_by(workers[w], ARGV[1]))) do
        held[id] = seen_as(false, "hget", messages, id) or nil
    end
end
local before = seen_as(0, "hlen", messages)
redis.call("unlink", queue, messages)
for id, message in pairs(held) do redis.call("hset", messages, id, message) end
return before - redis.call("hlen", messages)
"""
)

# KEYS: namespace. ARGV: queue, actor (empty: any), how many a second. Returns how many are dead now, and the time in ms: those that died by
# then are requeued by STEP, the oldest first. A plan that stands for the queue is replaced. Returns the keys of another type, too.
PLAN = (
    _NAMES
    + """
local now = redis.call("time")
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local plan = {actor = ARGV[2], rate = tonumber(ARGV[3]), died = ms, at = ms, passed = 0}
cleared("hset", namespace .. ":__again__", ARGV[1], cjson.encode(plan))
return {seen_as(0, "zcard", full(ARGV[1]) .. ".XQ"), ms, unusable}
"""
)

# KEYS: namespace. ARGV: the channel of wake-ups, the most that are looked at, the most bytes of a message, queues.
# As many of each queue's dead as its pace allows since the last step. Those of other actors stay where they are and are passed over,
# by their number, since those that die meanwhile come behind them. A plan that is none, or whose queue's keys are of another type, is
# deleted, and the other queues go on. Returns how many were requeued, and the keys of what was deleted.
STEP = (
    CLEARED
    + """
local namespace, most_looked, most, total = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local now = redis.call("time")
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local plans = namespace .. ":__again__"
local function counts(number) return type(number) == "number" and number >= 0 and number < 1e15 end
local function planned(name)
    local size = cleared("hstrlen", plans, name)
    if size == 0 then return end
    local read, plan = pcall(function() return size < 1000 and cjson.decode(redis.call("hget", plans, name)) end)
    if read and type(plan) == "table" and type(plan.actor) == "string" and counts(plan.rate) and counts(plan.died)
        and counts(plan.at) and counts(plan.passed) then
        return plan
    end
    redis.call("hdel", plans, name)
    unusable[#unusable + 1] = plans .. "/" .. name
end
for q = 4, #ARGV do
    local name = ARGV[q]
    local plan = planned(name) or {rate = 0, at = ms}
    local queue = namespace .. ":" .. name
    local dead, letters = queue .. ".XQ", queue .. ".XQ.msgs"
    local wanted = math.min(math.floor(plan.rate * (ms - plan.at) / 1000), most_looked)
    if wanted > 0 then
        local found, moved, over = cleared("zrange", dead, plan.passed, plan.passed + most_looked - 1, "withscores"), 0, false
        local named = '"actor_name":' .. cjson.encode(plan.actor)
        for d = 1, #found, 2 do
            if moved == wanted then break end
            local id = found[d]
            if tonumber(found[d + 1]) > plan.died then over = true break end
            local message = cleared("hstrlen", letters, id) <= most and redis.call("hget", letters, id)
            if message and (plan.actor == "" or string.find(message, named, 1, true)) then
                redis.call("zrem", dead, id)
                cleared("hset", queue .. ".msgs", id, message)
                redis.call("hdel", letters, id)
                cleared("rpush", queue, id)
                moved = moved + 1
            else
                plan.passed = plan.passed + 1
            end
        end
        if moved > 0 then redis.call("publish", ARGV[1], name) end
        if over or (moved < wanted and #found < 2 * most_looked) then
            redis.call("hdel", plans, name)
        else
            plan.at = ms
            redis.call("hset", plans, name, cjson.encode(plan))
        end
        total = total + moved
    end
end
return {total, unusable}
"""
)
