"""The peers' own programs: what a user of aiohttp, Scrapy, Celery or Dramatiq would write. They run in `.venv-bench`.

Each module is a program that ends when all scrapes are COMPLETE, or a worker that is ended from outside; those with a queue
are also called with `send` first. They share the tables, the parse and the SQL, and nothing of Beat.
"""
