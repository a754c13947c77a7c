"""YouTube."""

from beat_actors.platforms.interface import Platform
from beat_actors.platforms.youtube.crawler import YouTubeCrawler
from beat_actors.platforms.youtube.entities import (
    ACCOUNT,
    COMMENT,
    POST,
    YouTubeAccount,
    YouTubeComment,
    YouTubePost,
)
from beat_actors.platforms.youtube.flows import FLOWS
from beat_actors.platforms.youtube.sources.ytapi import YtApi
from beat_actors.platforms.youtube.trust import TRUST

platform = Platform(
    name="youtube",
    sources={YtApi.name: YtApi()},
    chains=YouTubeCrawler.chains,
    flows=FLOWS,
    entities=(ACCOUNT, POST, COMMENT),
    trust=TRUST,
    record_lists=frozenset({"items", "comments"}),
)

__all__ = ["YouTubeAccount", "YouTubeComment", "YouTubeCrawler", "YouTubePost", "platform"]
