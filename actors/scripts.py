"""What runs inside Redis, over the keys that Dramatiq's Redis broker uses. Each script is one round trip and all or nothing.

Sending, fetching and acknowledging are Dramatiq's own, save for this: a fetch gives the ids along with the messages, so that one
that cannot be read can be acknowledged too; it leaves large ones where they are; the server's clock stamps the heartbeat, so that
no worker is taken for dead because of its own; and an acknowledgement takes no memory, so that a full Redis drains.

    NAMESPACE:__heartbeats__            sorted set   worker -> when it last fetched, in ms
    NAMESPACE:__acks__.WORKER.QUEUE     set          ids that this worker holds
    NAMESPACE:QUEUE                     list         ids that wait; one without a message was dropped, and is passed over
    NAMESPACE:QUEUE.msgs                hash         id -> message, waiting or held
    NAMESPACE:QUEUE.XQ, .XQ.msgs        sorted set   dead letters, by the time of their death in ms; and their messages
    NAMESPACE:QUEUE.DQ, .DQ.msgs        list         delayed ones, of which Beat sends none; and their messages
    NAMESPACE:__again__                 hash         queue -> how its dead letters are being requeued; Beat's own
    NAMESPACE:__done__.QUEUE.N          counter      messages acknowledged in the Nth ten seconds; Beat's own, kept for two minutes
"""

BUCKET = 10
"""Seconds that one counter of acknowledged messages stands for."""

# KEYS: ids, messages. ARGV: the bell's channel, the queue, then id and message for each.
SEND = """
for i = 3, #ARGV, 2 do
    redis.call("hset", KEYS[2], ARGV[i], ARGV[i + 1])
    redis.call("rpush", KEYS[1], ARGV[i])
end
redis.call("publish", ARGV[1], ARGV[2])
"""

# KEYS: ids, messages, what this worker holds, heartbeats. ARGV: worker, how many, the most bytes of a message.
# Returns {id, size, message} for each; no message where it, or its id, is too large.
FETCH = """
local now = redis.call("time")
redis.call("zadd", KEYS[4], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
local fetched, wanted, most = {}, tonumber(ARGV[2]), tonumber(ARGV[3])
for _ = 1, wanted + 1000 do
    if #fetched == wanted then break end
    local id = redis.call("lpop", KEYS[1])
    if not id then break end
    local size = redis.call("hstrlen", KEYS[2], id)
    if #id > 200 then
        redis.call("hdel", KEYS[2], id)
        fetched[#fetched + 1] = {string.sub(id, 1, 200), size, false}
    elseif size > 0 or redis.call("hexists", KEYS[2], id) == 1 then
        redis.call("sadd", KEYS[3], id)
        fetched[#fetched + 1] = {id, size, size <= most and redis.call("hget", KEYS[2], id)}
    end
end
return fetched
"""

# KEYS: messages, what this worker holds. ARGV: id, the counter's name up to its number, seconds of a counter.
# One that was given back meanwhile, because this worker seemed dead, is another's now.
ACK = """
if redis.call("srem", KEYS[2], ARGV[1]) > 0 then
    redis.call("hdel", KEYS[1], ARGV[1])
    local counter = ARGV[2] .. math.floor(redis.call("time")[1] / ARGV[3])
    redis.pcall("incr", counter)
    redis.pcall("expire", counter, 120)
end
"""

# What follows is for people who look at queues and mend them. None of it reads more of a queue than its two ends.
_NAMES = """
local namespace = KEYS[1]
local function full(queue) return namespace .. ":" .. queue end
local function held_by(worker, queue) return namespace .. ":__acks__." .. worker .. "." .. queue end
local workers = redis.call("zrange", namespace .. ":__heartbeats__", 0, -1, "withscores")
local function read(messages, id, most)
    local size = redis.call("hstrlen", messages, id)
    return size, size <= most and redis.call("hget", messages, id)
end
"""

# KEYS: namespace. ARGV: messages to read at each end, the most bytes of a message, seconds of a counter, queues.
# Returns the time in ms, {worker, heartbeat, …}, then {ids, messages, delayed, dead, {held by each worker}, acknowledged in the
# last whole minute, {id, size, message of those at the ends}, {the same of the newest dead}, how its dead are requeued} for each queue.
LOOK = (
    _NAMES
    + """
local now = redis.call("time")
local ends, most, bucket = tonumber(ARGV[1]), tonumber(ARGV[2]), math.floor(now[1] / ARGV[3])
local found = {now[1] * 1000 + math.floor(now[2] / 1000), workers}
for i = 4, #ARGV do
    local queue = full(ARGV[i])
    local length, held, done, seen = redis.call("llen", queue), {}, 0, {}
    for w = 1, #workers, 2 do held[#held + 1] = redis.call("scard", held_by(workers[w], ARGV[i])) end
    for back = 1, 60 / ARGV[3] do
        done = done + (redis.call("get", namespace .. ":__done__." .. ARGV[i] .. "." .. bucket - back) or 0)
    end
    local ids = redis.call("lrange", queue, 0, ends - 1)
    if length > ends then
        for _, id in ipairs(redis.call("lrange", queue, math.max(ends, length - ends), -1)) do ids[#ids + 1] = id end
    end
    for _, id in ipairs(ids) do
        local size, message = read(queue .. ".msgs", id, most)
        if size > 0 then seen[#seen + 1] = {id, size, message} end
    end
    local dead = {}
    for _, id in ipairs(redis.call("zrevrange", queue .. ".XQ", 0, ends - 1)) do
        local size, message = read(queue .. ".XQ.msgs", id, most)
        if size > 0 then dead[#dead + 1] = {id, size, message} end
    end
    found[#found + 1] = {
        length, redis.call("hlen", queue .. ".msgs"), redis.call("hlen", queue .. ".DQ.msgs"),
        redis.call("zcard", queue .. ".XQ"), held, done, seen, dead, redis.call("hget", namespace .. ":__again__", ARGV[i]),
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
    for _, id in ipairs(redis.call("srandmember", held_by(workers[w], ARGV[1]), count)) do
        add(queue .. ".msgs", id, "in flight", workers[w])
    end
end
for _, id in ipairs(redis.call("lrange", queue, 0, count - 1)) do add(queue .. ".msgs", id, "waiting", "") end
local dead = redis.call("zrevrange", queue .. ".XQ", 0, count - 1, "withscores")
for d = 1, #dead, 2 do add(queue .. ".XQ.msgs", dead[d], "dead", dead[d + 1]) end
return found
"""
)

# KEYS: namespace. ARGV: verb (show, requeue, drop), id, the most bytes of a message, the bell's channel, queues to look in.
# Returns {queue, id, state, worker or time of death, size, message} as it was before; nothing where there is no such message.
# A list is searched nowhere: the id of a dropped message stays in it, and the next fetch passes it over.
ACT = (
    _NAMES
    + """
local verb, id, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
for i = 5, #ARGV do
    local queue = full(ARGV[i])
    local messages, dead, delayed = queue .. ".msgs", queue .. ".XQ.msgs", queue .. ".DQ.msgs"
    local state, where, lies_in
    if redis.call("hexists", dead, id) == 1 then
        state, where, lies_in = "dead", redis.call("zscore", queue .. ".XQ", id) or "", dead
    elseif redis.call("hexists", delayed, id) == 1 then
        state, where, lies_in = "delayed", "", delayed
    elseif redis.call("hexists", messages, id) == 1 then
        state, where, lies_in = "waiting", "", messages
        for w = 1, #workers, 2 do
            if redis.call("sismember", held_by(workers[w], ARGV[i]), id) == 1 then state, where = "in flight", workers[w] end
        end
    end
    if state then
        local size, message = read(lies_in, id, most)
        if verb ~= "show" and state == "in flight" then redis.call("srem", held_by(where, ARGV[i]), id) end
        if verb ~= "show" and state == "dead" then redis.call("zrem", queue .. ".XQ", id) end
        if verb == "drop" then redis.call("hdel", lies_in, id) end
        if verb == "requeue" and state ~= "waiting" then
            if lies_in ~= messages then
                redis.call("hset", messages, id, redis.call("hget", lies_in, id))
                redis.call("hdel", lies_in, id)
            end
            redis.call("rpush", queue, id)
            redis.call("publish", ARGV[4], ARGV[i])
        end
        return {ARGV[i], id, state, where, size, message}
    end
end
"""
)

# KEYS: namespace. ARGV: queue, state (waiting, delayed, dead). Returns how many went. What workers hold stays theirs.
PURGE = (
    _NAMES
    + """
local queue = full(ARGV[1])
if ARGV[2] == "dead" then
    local count = redis.call("zcard", queue .. ".XQ")
    redis.call("unlink", queue .. ".XQ", queue .. ".XQ.msgs")
    return count
elseif ARGV[2] == "delayed" then
    local count = redis.call("hlen", queue .. ".DQ.msgs")
    redis.call("unlink", queue .. ".DQ", queue .. ".DQ.msgs")
    return count
end
local messages, held = queue .. ".msgs", {}
for w = 1, #workers, 2 do
    for _, id in ipairs(redis.call("smembers", held_by(workers[w], ARGV[1]))) do
        held[id] = redis.call("hget", messages, id) or nil
    end
end
local before = redis.call("hlen", messages)
redis.call("unlink", queue, messages)
for id, message in pairs(held) do redis.call("hset", messages, id, message) end
return before - redis.call("hlen", messages)
"""
)

# KEYS: namespace. ARGV: queue, actor (empty: any), how many a second. Returns how many are dead now, and the time in ms: those that died by
# then are requeued by STEP, the oldest first. A plan that stands for the queue is replaced.
PLAN = """
local now = redis.call("time")
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local plan = {actor = ARGV[2], rate = tonumber(ARGV[3]), died = ms, at = ms, passed = 0}
redis.call("hset", KEYS[1] .. ":__again__", ARGV[1], cjson.encode(plan))
return {redis.call("zcard", KEYS[1] .. ":" .. ARGV[1] .. ".XQ"), ms}
"""

# KEYS: namespace. ARGV: the bell's channel, the most that are looked at, the most bytes of a message, queues.
# As many of each queue's dead as its pace allows since the last step. Those of other actors stay where they are and are passed over,
# by their number, since those that die meanwhile come behind them. Returns how many were requeued.
STEP = """
local namespace, most_looked, most, total = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local now = redis.call("time")
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
for q = 4, #ARGV do
    local name, text = ARGV[q], redis.call("hget", namespace .. ":__again__", ARGV[q])
    local plan = text and cjson.decode(text) or {rate = 0, at = ms}
    local queue = namespace .. ":" .. name
    local dead, letters = queue .. ".XQ", queue .. ".XQ.msgs"
    local wanted = math.min(math.floor(plan.rate * (ms - plan.at) / 1000), most_looked)
    if wanted > 0 then
        local found, moved, over = redis.call("zrange", dead, plan.passed, plan.passed + most_looked - 1, "withscores"), 0, false
        local named = '"actor_name":' .. cjson.encode(plan.actor)
        for d = 1, #found, 2 do
            if moved == wanted then break end
            local id = found[d]
            if tonumber(found[d + 1]) > plan.died then over = true break end
            local message = redis.call("hstrlen", letters, id) <= most and redis.call("hget", letters, id)
            if message and (plan.actor == "" or string.find(message, named, 1, true)) then
                redis.call("zrem", dead, id)
                redis.call("hset", queue .. ".msgs", id, message)
                redis.call("hdel", letters, id)
                redis.call("rpush", queue, id)
                moved = moved + 1
            else
                plan.passed = plan.passed + 1
            end
        end
        if moved > 0 then redis.call("publish", ARGV[1], name) end
        if over or (moved < wanted and #found < 2 * most_looked) then
            redis.call("hdel", namespace .. ":__again__", name)
        else
            plan.at = ms
            redis.call("hset", namespace .. ":__again__", name, cjson.encode(plan))
        end
        total = total + moved
    end
end
return total
"""
