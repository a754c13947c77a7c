"""What runs inside Redis, over the keys that Dramatiq's Redis broker uses. Each script is one round trip and all or nothing.

All that a worker does to a queue follows Dramatiq's own script, save for this: a fetch gives the ids along with the messages, so that one
that cannot be read can be acknowledged too; it leaves large ones where they are; the server's clock stamps the heartbeat, so that
no worker is taken for dead because of its own; and an acknowledgement takes no memory, so that a full Redis drains.

    NAMESPACE:__heartbeats__            sorted set   worker -> when it last fetched, in ms
    NAMESPACE:__acks__.WORKER.QUEUE     set          ids that this worker holds
    NAMESPACE:QUEUE                     list         ids that wait; one without a message was dropped, and is passed over
    NAMESPACE:QUEUE.msgs                hash         id -> message, waiting or held
    NAMESPACE:QUEUE.XQ, .XQ.msgs        sorted set   dead letters, by the time of their death in ms; and their messages
    NAMESPACE:QUEUE.DQ, .DQ.msgs        list         delayed ones, of which Beat sends none; and their messages
    NAMESPACE:rung:PLATFORM             string       when a turn was last asked for, in ms; Beat's own, gone when one begins
    NAMESPACE:__again__                 hash         queue -> how its dead letters are being requeued; Beat's own
    NAMESPACE:__done__.QUEUE.N          counter      messages acknowledged in the Nth ten seconds; Beat's own, kept for two minutes

What lies under these names is input. A key of another type is deleted where it would stop the workers or a sweep, and passed over
where somebody only looks; the scripts return its name, and an alert names it. Nothing is lost with it, since messages are hints.
"""

BUCKET = 10
"""Seconds that one counter of acknowledged messages stands for."""

# `cleared` is redis.call, after a key of another type was deleted. What fails otherwise fails again, as itself.
CLEARED = """
local unusable = {}
local function cleared(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) == "table" and answer.err then
        if string.find(answer.err, "WRONGTYPE", 1, true) then
            redis.call("unlink", key)
            unusable[#unusable + 1] = key
        end
        return redis.call(command, key, ...)
    end
    return answer
end
"""

_PUT = """
local function put(ids, messages, channel, queue, first)
    for i = first, #ARGV, 2 do
        cleared("hset", messages, ARGV[i], ARGV[i + 1])
        cleared("rpush", ids, ARGV[i])
    end
    redis.call("publish", channel, queue)
end
"""

# KEYS: ids, messages. ARGV: the channel of wake-ups, the queue, then id and message for each. Returns the keys that were deleted.
SEND = (
    CLEARED
    + _PUT
    + """
put(KEYS[1], KEYS[2], ARGV[1], ARGV[2], 3)
return unusable
"""
)

# KEYS: the flag of a wake-up, ids, messages. ARGV: ms for which the flag stands, the channel of wake-ups, the queue, id, message.
# Sends the message unless a wake-up was sent and no turn has begun since. The flag's value is the time at which it was set, so one that does not
# expire, that is older, that lies in the future or that cannot be read counts as absent. Returns the keys that held something else than they
# are for: of another type, no number, or without an expiry.
SEND_ONCE = (
    CLEARED
    + _PUT
    + """
local clock = redis.call("time")
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local said = cleared("get", KEYS[1])
local at, ends = tonumber(said or "", 10), redis.pcall("pttl", KEYS[1])
local stands = at and at <= now and now - at < tonumber(ARGV[1])
if said and (not at or at ~= at or ends == -1) then unusable[#unusable + 1] = KEYS[1] end
if not stands then
    put(KEYS[2], KEYS[3], ARGV[2], ARGV[3], 4)
    redis.call("set", KEYS[1], string.format("%.0f", now), "px", ARGV[1])
end
return unusable
"""
)

# KEYS: ids, messages, what this worker holds, heartbeats. ARGV: worker, how many, the most bytes of a message.
# Returns {id, size, message} for each, no message where it, or its id, is too large; and the keys that were deleted.
FETCH = (
    CLEARED
    + """
local now = redis.call("time")
cleared("zadd", KEYS[4], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
local fetched, wanted, most = {}, tonumber(ARGV[2]), tonumber(ARGV[3])
for _ = 1, wanted + 1000 do
    if #fetched == wanted then break end
    local id = cleared("lpop", KEYS[1])
    if not id then break end
    local size = cleared("hstrlen", KEYS[2], id)
    if #id > 200 then
        redis.call("hdel", KEYS[2], id)
        fetched[#fetched + 1] = {string.sub(id, 1, 200), size, false}
    elseif size > 0 or redis.call("hexists", KEYS[2], id) == 1 then
        cleared("sadd", KEYS[3], id)
        fetched[#fetched + 1] = {id, size, size <= most and redis.call("hget", KEYS[2], id)}
    end
end
return {fetched, unusable}
"""
)

# KEYS: the namespace. ARGV: the most bytes of a message, then queues.
# Returns the time in ms, and for each queue the first message that waits, or false; one of the first ten ids has it, or none is looked at.
HEADS = """
local now = redis.call("time")
local found = {now[1] * 1000 + math.floor(now[2] / 1000), {}}
for i = 2, #ARGV do
    local queue, head = KEYS[1] .. ":" .. ARGV[i], false
    local ids = redis.pcall("lrange", queue, 0, 9)
    for _, id in ipairs(ids.err and {} or ids) do
        local size = redis.pcall("hstrlen", queue .. ".msgs", id)
        if type(size) == "number" and size > 0 and size <= tonumber(ARGV[1]) then
            head = redis.call("hget", queue .. ".msgs", id)
            break
        end
    end
    found[2][i - 1] = head
end
return found
"""

# KEYS: the namespace. ARGV: ms after which a worker without a heartbeat is dead, ms that dead letters are kept, then queues.
# Gives back what dead workers held, and forgets old dead letters. As Dramatiq's maintenance, without its KEYS, which walks through all
# that Redis has. What is left after a hundred workers or a thousand letters is for the next time.
RETURN = (
    CLEARED
    + """
local namespace, clock = KEYS[1], redis.call("time")
local now, heartbeats = clock[1] * 1000 + math.floor(clock[2] / 1000), namespace .. ":__heartbeats__"
for _, worker in ipairs(cleared("zrangebyscore", heartbeats, 0, now - ARGV[1], "limit", 0, 100)) do
    for i = 3, #ARGV do
        local queue, held = namespace .. ":" .. ARGV[i], namespace .. ":__acks__." .. worker .. "." .. ARGV[i]
        for _, id in ipairs(cleared("smembers", held)) do
            if cleared("hexists", queue .. ".msgs", id) == 1 then cleared("rpush", queue, id) end
        end
        redis.call("unlink", held)
    end
    redis.call("zrem", heartbeats, worker)
end
for i = 3, #ARGV do
    local dead = namespace .. ":" .. ARGV[i] .. ".XQ"
    for _, id in ipairs(cleared("zrangebyscore", dead, 0, now - ARGV[2], "limit", 0, 1000)) do
        redis.call("zrem", dead, id)
        cleared("hdel", dead .. ".msgs", id)
    end
end
return unusable
"""
)

# KEYS: messages, what this worker holds. ARGV: id, the counter's name up to its number, seconds of a counter.
# One that was given back meanwhile, because this worker seemed dead, is another's now. Returns the keys that were deleted.
ACK = (
    CLEARED
    + """
if cleared("srem", KEYS[2], ARGV[1]) > 0 or #unusable > 0 then
    cleared("hdel", KEYS[1], ARGV[1])
    local counter = ARGV[2] .. math.floor(redis.call("time")[1] / ARGV[3])
    redis.pcall("incr", counter)
    redis.pcall("expire", counter, 120)
end
return unusable
"""
)

# KEYS: messages, what this worker holds, dead letters, their messages. ARGV: id. Returns the keys that were deleted.
NACK = (
    CLEARED
    + """
if cleared("srem", KEYS[2], ARGV[1]) > 0 then
    local message, now = cleared("hget", KEYS[1], ARGV[1]), redis.call("time")
    if message then
        cleared("zadd", KEYS[3], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
        cleared("hset", KEYS[4], ARGV[1], message)
        redis.call("hdel", KEYS[1], ARGV[1])
    end
end
return unusable
"""
)

# KEYS: ids, messages, what this worker holds. ARGV: ids that it gives back, not begun. Returns the keys that were deleted.
REQUEUE = (
    CLEARED
    + """
for _, id in ipairs(ARGV) do
    if cleared("srem", KEYS[3], id) > 0 and cleared("hexists", KEYS[2], id) == 1 then cleared("rpush", KEYS[1], id) end
end
return unusable
"""
)
