-- A stack of limits as one step: all have room, and one call is taken from each; or nothing is taken from any.
--
-- Two keys for each limit:
--   counter  a string, the number of calls in the window. It stands under the name that operators know, and what they do to it
--            holds: deleted, the window is empty; set to a number, so many calls were made just now.
--   window   a hash: bucket -> calls made in it; and total, what was last written to the counter; first, below which no bucket
--            is left; last, the newest bucket; reset, the time at which the counter was last emptied by hand, if it was.
-- Both end when the newest call leaves the window. So a counter that is gone alone was deleted, and both gone together means that
-- Redis lost them, or that nothing was asked for long; a limit that is to be remembered is `cold` then, and nothing is taken.
--
-- A limit may be one account's share of another limit, which stands before it. When the other limit is emptied by hand, all shares of
-- it are empty too: a share whose `reset` is not that of its limit is emptied when it is next read.
--
-- ARGV: the operation, then for each limit: most calls, the bucket's width in ms, 1 for a calendar window, 1 if remembered, and the
-- position of the limit whose share it is, or 0.
--   take       -> refused, cold, then for each limit: calls, ms until there is room, ms until the next call leaves, its bucket
--   look       -> now, then for each limit: calls, cold, the bucket of now, the buckets with their calls
--   give_back  takes a call out again; one bucket more in ARGV for each limit
--   restore    for one cold limit: buckets and their calls follow in ARGV
--
-- What the two keys hold is input. A key of another type, a counter that is no count, and a window whose numbers no window can have, are
-- deleted: a counter is then made anew from its window, and a window from its counter; without both, the limit is as if Redis had lost it.
-- Loops over buckets are bounded thereby. Each answer comes with the keys that were deleted so.
--
-- A window has BUCKETS buckets and the one that now lies in. The oldest counts whole until all of it is outside, so a call leaves
-- between 0 and one bucket late and never early. A calendar window is those of one day, hour or minute.
-- `now` is set by the lines that are put before these.

local BUCKETS = 1000
local unusable = {}

local function set_aside(key)
    redis.call('DEL', key)
    unusable[#unusable + 1] = key
end

local function numbers(from, to)
    local list = {}
    for bucket = from, to do
        list[#list + 1] = bucket
    end
    return list
end

local function count(text)
    local number = tonumber(text)
    return number and number >= 0 and number < 1e15 and math.floor(number)
end

-- Whatever people wrote to the counter becomes the window.
local function heed(s, said)
    local written = 0
    if said then
        written = count(said)
    end
    if written == s.total then
        return
    end
    redis.call('DEL', s.window)
    if written > 0 then
        redis.call('HSET', s.window, s.bucket, written)
    else
        s.reset = now
    end
    s.total, s.first, s.last, s.changed = written, s.bucket, s.bucket, true
end

local function forget_what_is_outside(s)
    s.oldest = s.bucket - BUCKETS
    if s.calendar then
        s.oldest = s.bucket - s.bucket % BUCKETS
    end
    if s.total > 0 and s.first < s.oldest then
        local gone = numbers(s.first, math.min(s.oldest - 1, s.last))
        for _, calls in ipairs(redis.call('HMGET', s.window, unpack(gone))) do
            s.total = s.total - (tonumber(calls) or 0)
        end
        redis.call('HDEL', s.window, unpack(gone))
        s.first, s.changed = s.oldest, true
    end
    if s.total == 0 then
        s.first = s.bucket
    end
    while s.first < s.bucket and redis.call('HEXISTS', s.window, s.first) == 0 do
        s.first, s.changed = s.first + 1, true
    end
end

local function read(key, command, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) == 'table' and answer.err then
        if not string.find(answer.err, 'WRONGTYPE', 1, true) then
            return redis.call(command, key, ...)
        end
        set_aside(key)
        return redis.call(command, key, ...)
    end
    return answer
end

-- The window's three numbers; all or none of them.
local function window_of(s, bucket)
    local known = read(s.window, 'HMGET', 'total', 'first', 'last')
    local total, first, last = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
    if total and first and last and total >= 0 and total < 1e15 and first >= 0 and first <= bucket + 2 * BUCKETS
        and last >= 0 and last <= bucket + 2 * BUCKETS and last - first <= 2 * BUCKETS and (total == 0 or first <= last) then
        return math.floor(total), math.floor(first), math.floor(last)
    end
    if known[1] or known[2] or known[3] then
        set_aside(s.window)
    end
end

-- A share begins anew where its limit was emptied since.
local function follow(s, limit)
    if limit and limit.reset and s.reset ~= limit.reset then
        s.reset = limit.reset
        if s.total > 0 then
            redis.call('DEL', s.window)
            s.total, s.first, s.last, s.changed = 0, s.bucket, s.bucket, true
        end
    end
end

local stack = {}

local function load(i)
    local at = 5 * (i - 1) + 1
    local s = {
        counter = KEYS[2 * i - 1], window = KEYS[2 * i], cap = tonumber(ARGV[at + 1]), width = tonumber(ARGV[at + 2]),
        calendar = ARGV[at + 3] == '1',
    }
    s.bucket = math.floor(now / s.width)
    local total, first, last = window_of(s, s.bucket)
    local seen, said = #unusable, read(s.counter, 'GET')
    if said and not count(said) then
        set_aside(s.counter)
    end
    if #unusable > seen then
        said, s.changed = total, total ~= nil
    end
    s.cold = ARGV[at + 4] == '1' and not total and not said
    s.total, s.first, s.last = total or 0, first or s.bucket, last or s.bucket
    s.reset = total and tonumber(redis.call('HMGET', s.window, 'reset')[1] or '')
    s.bucket = math.max(s.bucket, s.last)  -- a clock that stepped back does not make calls younger
    heed(s, said)
    follow(s, stack[tonumber(ARGV[at + 5])])
    forget_what_is_outside(s)
    return s
end

local function save(s)
    redis.call('HSET', s.window, 'total', s.total, 'first', s.first, 'last', s.last)
    if s.reset then
        redis.call('HSET', s.window, 'reset', s.reset)
    end
    redis.call('SET', s.counter, s.total)
    local ends = (s.last + BUCKETS + 1) * s.width
    if s.calendar then
        ends = (s.oldest + BUCKETS) * s.width
    end
    redis.call('PEXPIREAT', s.counter, ends)
    redis.call('PEXPIREAT', s.window, ends)
end

-- The ms until `missing` calls have left the window.
local function until_gone(s, missing)
    if missing <= 0 then
        return 0
    end
    if s.calendar then
        return (s.oldest + BUCKETS) * s.width - now
    end
    local held = numbers(s.first, s.bucket)
    for i, calls in ipairs(redis.call('HMGET', s.window, unpack(held))) do
        missing = missing - (tonumber(calls) or 0)
        if missing <= 0 then
            return (held[i] + BUCKETS + 1) * s.width - now
        end
    end
    return (s.bucket + BUCKETS + 1) * s.width - now
end

local function add(s, bucket, calls)
    local held = redis.pcall('HINCRBY', s.window, bucket, calls)
    if type(held) == 'table' then  -- it is no number
        redis.call('HDEL', s.window, bucket)
        held = redis.call('HINCRBY', s.window, bucket, calls)
    end
    if held <= 0 then
        redis.call('HDEL', s.window, bucket)
    end
    s.total, s.changed = s.total + calls, true
end

local op, size = ARGV[1], #KEYS / 2
local rest = 5 * size + 2
local refused, cold = 0, 0
for i = 1, size do
    local s = load(i)
    stack[i] = s
    if s.cold then
        cold = 1
    end
    if s.total >= s.cap then
        refused = 1
    end
end

local answer = {}
if op == 'take' then
    answer = {refused, cold}
    for _, s in ipairs(stack) do
        if refused == 0 and cold == 0 then
            add(s, s.bucket, 1)
            s.last = s.bucket
        end
        answer[#answer + 1] = s.total
        answer[#answer + 1] = until_gone(s, s.total - s.cap + 1)
        answer[#answer + 1] = until_gone(s, math.min(s.total, 1))
        answer[#answer + 1] = s.bucket
    end
elseif op == 'look' then
    answer = {now}
    for _, s in ipairs(stack) do
        answer[#answer + 1] = {s.total, s.cold and 1 or 0, s.bucket, redis.call('HGETALL', s.window)}
    end
elseif op == 'give_back' then
    for i, s in ipairs(stack) do
        local bucket = ARGV[rest + i - 1]
        if redis.call('HEXISTS', s.window, bucket) == 1 then
            add(s, bucket, -1)
        end
    end
elseif op == 'restore' then
    local s = stack[1]
    if s.cold then
        for i = rest, #ARGV, 2 do
            local bucket = math.min(tonumber(ARGV[i]), s.bucket)
            if bucket >= s.oldest then
                add(s, bucket, tonumber(ARGV[i + 1]))
                s.first = math.min(s.first, bucket)
            end
        end
        s.changed = true
    end
end
for _, s in ipairs(stack) do
    if s.changed then
        save(s)
    end
end
return {answer, unusable}
