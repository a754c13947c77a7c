"""`python -m tests.strict_s3 --port 9000`: the strict S3 as a process, as benchmarks use it. It prints its variables, and runs until it is ended."""

import argparse

import uvloop

from tests.strict_s3.server import StrictS3


async def main(port: int, bucket: str, *, keeps: bool) -> None:
    strict = StrictS3(bucket, keeps=keeps)
    server = await strict.listen(port)
    for name, value in {**strict.env, "BEAT_S3_ENDPOINT_URL": strict.url, "BEAT_ASSET_BUCKET": bucket}.items():
        print(f"{name}={value}", flush=True)
    async with server:
        await server.serve_forever()


parser = argparse.ArgumentParser(prog="python -m tests.strict_s3")
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--bucket", default="beat-strict")
parser.add_argument("--no-bytes", action="store_true", help="keep no bytes of objects, which then cannot be read")
given = parser.parse_args()
uvloop.run(main(given.port, given.bucket, keeps=not given.no_bytes))
