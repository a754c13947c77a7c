"""Instagram."""

from beat_actors.platforms.instagram.crawler import InstagramCrawler
from beat_actors.platforms.instagram.entities import (
    ACCOUNT,
    COMMENT,
    FOLLOW,
    POST,
    POST_INSIGHT,
    PROFILE_INSIGHT,
    STORY,
    InstagramAccount,
    InstagramComment,
    InstagramFollow,
    InstagramPost,
    InstagramPostInsight,
    InstagramProfileInsight,
    InstagramStory,
)
from beat_actors.platforms.instagram.flows import FLOWS, ON_DEMAND
from beat_actors.platforms.instagram.sources.arraybobo import ArrayBobo
from beat_actors.platforms.instagram.sources.bestsolutions import BestSolutions
from beat_actors.platforms.instagram.sources.graphapi import GraphApi
from beat_actors.platforms.instagram.sources.jotucker import JoTucker
from beat_actors.platforms.instagram.sources.lama import Lama
from beat_actors.platforms.instagram.trust import TRUST
from beat_actors.platforms.interface import Platform

platform = Platform(
    name="instagram",
    sources={source.name: source for source in (GraphApi(), ArrayBobo(), JoTucker(), Lama(), BestSolutions())},
    chains=InstagramCrawler.chains,
    flows=FLOWS,
    entities=(ACCOUNT, POST, STORY, COMMENT, FOLLOW, PROFILE_INSIGHT, POST_INSIGHT),
    on_demand=ON_DEMAND,
    trust=TRUST,
    record_lists=frozenset(
        {"", "items", "data", "users", "comments", "preview_child_comments", "edges", "medias", "reels_media"}
    ),
)

__all__ = [
    "InstagramAccount",
    "InstagramComment",
    "InstagramCrawler",
    "InstagramFollow",
    "InstagramPost",
    "InstagramPostInsight",
    "InstagramProfileInsight",
    "InstagramStory",
    "platform",
]
