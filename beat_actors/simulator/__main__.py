"""`python -m beat_actors.simulator`"""

import argparse
import sys

import uvloop

from beat_actors.simulator.server import Config, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="beat simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--profiles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--private-every", type=int, default=0)
    parser.add_argument("--no-limits", action="store_true", help="let every call through")
    given = parser.parse_args()
    config = Config(
        profiles=given.profiles,
        seed=given.seed,
        latency=given.latency_ms / 1000,
        limits=not given.no_limits,
        private_every=given.private_every,
    )
    return run(config, host=given.host, port=given.port)


def run(config: Config, *, host: str, port: int) -> int:
    """Serve in the foreground; the exit code."""
    try:
        uvloop.run(serve(config, host=host, port=port))
    except OSError as error:
        print(f"the simulator cannot listen on {host}:{port}: {error.strerror}; choose another port", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
