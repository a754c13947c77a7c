"""TikTok."""

from beat_actors.platforms.interface import Platform
from beat_actors.platforms.tiktok.crawler import TikTokCrawler
from beat_actors.platforms.tiktok.entities import ACCOUNT, COMMENT, POST, TikTokAccount, TikTokComment, TikTokPost
from beat_actors.platforms.tiktok.flows import FLOWS
from beat_actors.platforms.tiktok.sources.api23 import Api23
from beat_actors.platforms.tiktok.sources.tikwm import Tikwm
from beat_actors.platforms.tiktok.trust import TRUST

platform = Platform(
    name="tiktok",
    sources={source.name: source for source in (Tikwm(), Api23())},
    chains=TikTokCrawler.chains,
    flows=FLOWS,
    entities=(ACCOUNT, POST, COMMENT),
    trust=TRUST,
    record_lists=frozenset({"videos", "comments", "itemList", "items", "itemListData"}),
)

__all__ = ["TikTokAccount", "TikTokComment", "TikTokCrawler", "TikTokPost", "platform"]
