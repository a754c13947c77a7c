"""Where the servers are, as the harness tells it."""

import os
from urllib.parse import quote

DATABASE_URL = os.environ["BENCH_DATABASE_URL"]
REDIS_URL = os.environ["BENCH_REDIS_URL"]
UPSTREAM_URL = os.environ["BENCH_UPSTREAM_URL"]
HEADERS = {"x-access-key": "bench"}


def url(handle: str) -> str:
    return f"{UPSTREAM_URL}/lama/a2/user?username={quote(handle)}"
