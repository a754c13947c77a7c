"""Who may do what in Redis: the rules of an ACL for each kind of process. `beat up`, docker-compose.yml and docs/security.md have the same.

A user reaches Beat's own keys alone, and no command that looks at or changes the server, the other keys, or everybody's scripts. What a script
calls is held against the rules too, so a user has the commands of the scripts that it runs.
"""

from collections.abc import Mapping
from types import MappingProxyType

from beat_actors.redis_keys import wake_up_channel

CONNECTION = "+ping +client|setinfo +time +evalsha +eval +script|load"
SEND = "+set +pttl +del +hset +rpush +publish"
"""What a wake-up and a message take."""
# What looks at queues and repairs them: the API, the command line, and the scheduler, which requeues dead letters and returns
# what dead workers held.
QUEUES = (
    "+get +unlink +llen +lrange +hget +hdel +hlen +hexists +hstrlen +sadd +srem +scard +smembers +sismember +srandmember"
    " +zadd +zrem +zcard +zscore +zrange +zrevrange +zrangebyscore +incr +expire"
)
LIMITS = "+get +hmget +hexists +hgetall +hincrby +hdel +pexpireat"
"""What the limits on on-demand requests take, besides `SEND`."""
COMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "api": (CONNECTION, SEND, QUEUES, LIMITS),
        "worker": (CONNECTION, SEND, QUEUES, "+lpop +subscribe +unsubscribe"),
        "scheduler": (CONNECTION, SEND, QUEUES, LIMITS, "+info +pubsub|numsub"),
        "operator": (CONNECTION, SEND, QUEUES, LIMITS, "+info +pubsub|numsub"),
        "publisher": (CONNECTION, "+multi +exec +xadd +xinfo|stream +xrange +xtrim +xlen +exists +memory|usage +info"),
    }
)
"""By role. `operator` is the command line; `publisher` writes the stream of events and reaches nothing else. The deliverer of webhooks and the migrations
use no Redis."""
STREAM = "beat:events"
LIMITED = ("api", "scheduler", "operator")


def rules(role: str, *, namespace: str = "dramatiq", limit_prefix: str = "beat_server_") -> list[str]:
    """What a new user of this role is given, as `ACL SETUSER` and a configuration take it. Raises `KeyError` for no such role."""
    commands = dict.fromkeys(" ".join(COMMANDS[role]).split())
    if role == "publisher":
        return [f"~{STREAM}", f"~{STREAM}:*", "-@all", *commands]
    counters = [f"~{limit_prefix}*"] if role in LIMITED else []
    return [f"~{namespace}", f"~{namespace}:*", *counters, f"&{wake_up_channel(namespace)}", "-@all", *commands]
