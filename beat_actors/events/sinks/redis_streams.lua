-- Append a run of events to a stream under the ids <seq>-0, or under new ids (a replay). All of it is one atomic step.
--
-- KEYS[1]: the stream.
-- ARGV[1]: "log" for explicit ids, "replay" for new ones.
-- ARGV[2]: the seq that the stream must have reached, 0 if unknown. A stream that ends before it has lost events.
-- ARGV[3]: how far the stream may be ahead of the first event. More than that is no resend.
-- ARGV[4]: the number of events. Then for each: its seq, its id, the number of arguments that follow, and those: names and values of its fields.
--
-- The stream is read and written by this script alone, so XADD cannot be refused because of an id. An event whose seq the stream has passed is
-- looked up: the same event is a resend and counts as stored; no entry, below the first one that is kept, was trimmed and counts as stored; no entry,
-- above it, was never stored and is appended under an id behind the last, with its own `sequence`; another event is a conflict.
--
-- Without memory the first XADD is refused with OOM and nothing is written. Redis checks that only before the first write of a script, so a run is
-- stored whole or not at all.
--
-- Returns {"ok", last} with the last seq of the stream; {"lost", last}, {"ahead", last}: nothing was written; {"conflict", n}: the events before
-- the n-th (from 0) are stored, those from it on are not. Raises WRONGTYPE if the key is no stream.

local key, explicit = KEYS[1], ARGV[1] == 'log'
local stored, ahead, count = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function seq_of(id)
    return tonumber(string.match(id, '^%d+'))
end

local last, last_id, oldest = 0, '0-0', nil
if explicit and redis.call('EXISTS', key) == 1 then
    local info = redis.call('XINFO', 'STREAM', key)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then
            last_id = info[i + 1]
            last = seq_of(last_id)
        elseif info[i] == 'first-entry' and info[i + 1] then
            oldest = seq_of(info[i + 1][1])
        end
    end
end

if explicit and last < stored then
    return {'lost', last}
end
if explicit and count > 0 and last - tonumber(ARGV[5]) >= ahead then
    return {'ahead', last}
end

local function is_same(entry, id)
    for _, value in ipairs(entry[2]) do
        if value == id or string.find(value, '"' .. id .. '"', 1, true) then
            return true
        end
    end
    return false
end

local at = 5
for n = 0, count - 1 do
    local seq, id, from, to = ARGV[at], ARGV[at + 1], at + 3, at + 2 + tonumber(ARGV[at + 2])
    if not explicit then
        redis.call('XADD', key, '*', unpack(ARGV, from, to))
    elseif tonumber(seq) > last then
        last, last_id = tonumber(seq), seq .. '-0'
        redis.call('XADD', key, last_id, unpack(ARGV, from, to))
    else
        local found = redis.call('XRANGE', key, seq .. '-0', seq .. '-0')[1]
        if found then
            if not is_same(found, id) then
                return {'conflict', n}
            end
        elseif oldest and tonumber(seq) > oldest then
            last_id = redis.call('XADD', key, last .. '-*', unpack(ARGV, from, to))
        end
    end
    at = to + 1
end
return {'ok', last}
