"""Raw payloads where they are: in PostgreSQL while they are young, then in objects of the bucket, with an index in PostgreSQL.

`archive` is the sweep that moves them, `reading` reads them wherever they are, `erasure` takes them out of both. Each payload is a zstd frame, and
an object is frames one after the other, so a range of an object is a payload. An object has payloads of one day (UTC) and never one that
the index does not name.
"""
