"""What TikTok's numbers cannot be, and how they usually move."""

from datetime import UTC, datetime

from beat_actors.platforms.interface import EntityRules, NeverMore, Number, Trust
from beat_actors.platforms.tiktok.entities import TikTokAccount, TikTokComment, TikTokPost

MOST = 10_000_000_000
MOST_VIEWS = 10_000_000_000_000
WEEKS = 30.0

ACCOUNT = EntityRules(
    record=TikTokAccount,
    version=1,
    key="profile_id",
    numbers=(
        Number("followers", usual=0.004, drop_from=1, most=MOST),
        Number("following", usual=0.008, least=0.1, drop_from=20, most=1_000_000),
        # Deleted posts take their likes along.
        Number("likes", usual=0.006, least=0.15, drop_from=20, most=MOST_VIEWS),
        Number("media_count", usual=0.01, least=0.25, drop_from=20, most=10_000_000),
    ),
    identity={"profile_by_handle": {"handle": "handle"}},
    handle="handle",
    verified="is_verified",
    face=("full_name", "biography", "profile_pic_url"),
)
POST = EntityRules(
    record=TikTokPost,
    version=1,
    key="post_id",
    numbers=(
        Number("likes", usual=0.01, least=0.08, drop_from=20, settles=WEEKS, most=MOST),
        Number("comments", usual=0.01, least=0.15, drop_from=20, settles=WEEKS, most=MOST),
        Number("views", usual=0.01, drop_from=20, only_grows=True, settles=WEEKS, most=MOST_VIEWS),
        Number("shares", usual=0.01, least=0.15, drop_from=50, settles=WEEKS, most=MOST),
        Number("saves", usual=0.01, least=0.15, drop_from=50, settles=WEEKS, most=MOST),
    ),
    identity={"post_by_id": {"post_id": "post_id"}},
    dates=("taken_at",),
    born="taken_at",
    # A like is given while the video plays; the two counters are updated at different times, which shows in small numbers.
    never=(NeverMore("likes", "views", at_least=10_000),),
)
COMMENT = EntityRules(
    record=TikTokComment,
    version=1,
    key="comment_id",
    numbers=(Number("likes"), Number("replies")),
    dates=("commented_at",),
)

TRUST = Trust(since=datetime(2016, 9, 1, tzinfo=UTC), entities=(ACCOUNT, POST, COMMENT))
