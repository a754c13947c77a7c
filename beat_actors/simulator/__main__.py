"""`python -m beat_actors.simulator`: the simulator as a process. SIGTERM ends it with 0, a port that is taken with 1."""

import argparse
import sys
from collections.abc import Sequence

from beat_actors.simulator.config import SimulatorConfig
from beat_actors.simulator.media import PREFIX
from beat_actors.simulator.server import PortTaken, run


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    cdn = f"http://{options.host}:{options.port}{PREFIX}" if options.serve_media else None
    try:
        config = SimulatorConfig(
            profiles=options.profiles,
            seed=options.seed,
            missing_every=options.missing_every,
            private_every=options.private_every,
            drift_seconds=options.drift_seconds,
            limits=not options.no_limits,
            slack_seconds=options.slack_ms / 1000,
            accept_any=not options.known_keys_only,
            latency_seconds=options.latency_ms / 1000,
            jitter_seconds=options.jitter_ms / 1000,
            line_seconds=options.line_ms / 1000,
            line_jitter_seconds=options.line_jitter_ms / 1000,
            cdn_url=cdn,
            media_seconds=options.media_seconds,
            cache_bytes=options.cache_mb * 1_000_000,
        )
        run(config, host=options.host, port=options.port, ready=lambda url: print(f"simulator at {url}", flush=True))
    except (PortTaken, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    default = SimulatorConfig()
    parser = argparse.ArgumentParser(
        prog="python -m beat_actors.simulator",
        description="Answers as each provider does, with its limits, its errors, and faults on demand.",
    )
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--profiles", type=int, default=default.profiles, help="how many people exist")
    parser.add_argument("--seed", type=int, default=default.seed, help="another seed is another population")
    parser.add_argument(
        "--missing-every", type=int, default=default.missing_every, help="one of N is missing; 0 = none"
    )
    parser.add_argument(
        "--private-every", type=int, default=default.private_every, help="one of N is private; 0 = none"
    )
    parser.add_argument("--drift-seconds", type=float, default=default.drift_seconds, help="0 = numbers stand still")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="how long an answer takes, at least")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="and by how much more at most")
    parser.add_argument("--line-ms", type=float, default=0.0, help="how long a call is under way until it is counted")
    parser.add_argument("--line-jitter-ms", type=float, default=0.0, help="and by how much more at most")
    parser.add_argument("--no-limits", action="store_true", help="enforce none of the providers' limits")
    parser.add_argument(
        "--slack-ms", type=float, default=0.0, help="shorten each limit's window, for clocks that differ"
    )
    parser.add_argument("--known-keys-only", action="store_true", help="refuse keys that nobody registered")
    parser.add_argument("--cache-mb", type=int, default=default.cache_bytes // 1_000_000, help="for rendered bodies")
    parser.add_argument("--media-seconds", type=float, default=0.0, help="how long a media URL is good; 0 = five days")
    parser.add_argument("--serve-media", action="store_true", help="media URLs point here, and are served")
    return parser


if __name__ == "__main__":
    sys.exit(main())
