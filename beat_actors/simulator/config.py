"""What a simulator is told at its start. Everything here can also be read back at `GET /_simulator/state`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """
    `profiles`: how many people exist. `seed`: another seed is another population.
    `missing_every`, `private_every`: of every N people one does not exist, one is private; 0 = none.
    `drift_seconds`: how often the numbers move; 0 = they stand still. `daily_growth`: by which share a day.
    `limits`: whether the providers' own limits are enforced. `slack_seconds`: by how much a window is shortened, for clocks
    that are not quite the caller's.
    `accept_any`: whether a credential that nobody registered is good.
    `latency_seconds`, `jitter_seconds`: how long an answer takes, at least, and by how much more at most.
    `line_seconds`, `line_jitter_seconds`: how long a call is under way before it arrives, and is counted.
    `cdn_url`: where media URLs point; `None` = to hosts that look like the provider's own and do not exist.
    `media_seconds`: how long a media URL is good; 0 = some five days.
    `cache_bytes`: memory for bodies that were rendered before.
    """

    profiles: int = 1000
    seed: int = 1
    missing_every: int = 100
    private_every: int = 100
    drift_seconds: float = 60.0
    daily_growth: float = 0.001
    limits: bool = True
    slack_seconds: float = 0.0
    accept_any: bool = True
    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    line_seconds: float = 0.0
    line_jitter_seconds: float = 0.0
    cdn_url: str | None = None
    media_seconds: float = 0.0
    cache_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        if self.profiles < 1:
            raise ValueError("profiles: a population has at least one person")
        if min(self.missing_every, self.private_every) < 0 or 0 < min(self.missing_every, self.private_every) < 4:
            raise ValueError("missing_every, private_every: 0 for none, or at least 4")
        waits = (self.latency_seconds, self.jitter_seconds, self.line_seconds, self.line_jitter_seconds)
        if min(self.drift_seconds, self.slack_seconds, self.cache_bytes, self.media_seconds, *waits) < 0:
            raise ValueError("seconds and bytes are not negative")
