"""Beat as a contender: the whole engine of `bench.engine`, and what it wrote."""

import psycopg

from beat_actors.database import migrate
from bench import engine
from bench.contender import Result, World, Written

TIMES = "SELECT extract(epoch FROM min(picked_at))::float8, extract(epoch FROM max(scraped_at))::float8 FROM scrape_request_log"
# An alert is an event too, and none of the work.
WRITTEN = """
SELECT (SELECT count(*) FROM scrape_request_log WHERE status = 'COMPLETE'), (SELECT count(*) FROM instagram_account),
    (SELECT count(*) FROM instagram_post), (SELECT count(*) FROM trace_log), (SELECT count(*) FROM profile_log),
    (SELECT count(*) FROM post_log), (SELECT count(*) FROM event WHERE type = 'beat.scrape_request.complete')
"""


class Beat:
    name = "beat"
    count = 6000
    schema = "beat"

    def create_schema(self, database_url: str) -> None:
        migrate.upgrade(database_url)

    def run(self, world: World, count: int) -> Result:
        """Its clock starts earlier than the others': at the first lease, before the first call."""
        setup = engine.Setup(world.database_url, world.redis_url, world.upstream_url)
        engine.run(setup, world.handles(count), count)
        with psycopg.connect(world.database_url) as connection:
            started, ended = connection.execute(TIMES).fetchone() or (0.0, 0.0)
            return Result(started, ended, Written(*(connection.execute(WRITTEN).fetchone() or ())))
