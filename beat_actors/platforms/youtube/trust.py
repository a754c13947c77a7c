"""What YouTube's numbers cannot be, and how they usually move."""

from datetime import UTC, datetime

from beat_actors.platforms.interface import EntityRules, NeverMore, Number, Trust
from beat_actors.platforms.youtube.entities import YouTubeAccount, YouTubeComment, YouTubePost

MOST = 10_000_000_000
MOST_VIEWS = 10_000_000_000_000
WEEKS = 30.0
# source: YouTube's API of 17 September 2019: subscribers above a thousand are cut to three significant digits.
CUT = {"*": 3}

ACCOUNT = EntityRules(
    record=YouTubeAccount,
    version=1,
    key="profile_id",
    numbers=(
        # There is one source of YouTube, so what is held waits for hours: the ranges are wide.
        Number("followers", usual=0.002, least=0.1, drop_from=1, most=MOST, digits=CUT),
        Number("media_count", usual=0.01, least=0.25, drop_from=20, most=10_000_000),
        # Deleted videos take their views along.
        Number("views", usual=0.005, least=0.5, drop_from=1000, most=MOST_VIEWS),
    ),
    identity={"profile_by_id": {"profile_id": "profile_id"}, "profile_by_handle": {"handle": "handle"}},
    handle="handle",
    dates=("published_at",),
    born="published_at",
    face=("full_name", "biography", "profile_pic_url"),
)
POST = EntityRules(
    record=YouTubePost,
    version=1,
    key="post_id",
    numbers=(
        Number("views", usual=0.01, drop_from=100, only_grows=True, settles=WEEKS, most=MOST_VIEWS),
        Number("likes", usual=0.01, least=0.08, drop_from=20, settles=WEEKS, most=MOST),
        Number("comments", usual=0.01, least=0.15, drop_from=50, settles=WEEKS, most=MOST),
        # It starts and ends at zero with the livestream.
        Number("concurrent_viewers", most=MOST),
    ),
    identity={"post_by_id": {"post_id": "post_id"}},
    dates=("taken_at", "started_at"),
    born="taken_at",
    # Views are checked before they are counted, and likes are not, so small numbers can be the other way round for hours.
    never=(NeverMore("likes", "views", at_least=100_000),),
)
COMMENT = EntityRules(
    record=YouTubeComment,
    version=1,
    key="comment_id",
    numbers=(Number("likes"), Number("replies")),
    dates=("commented_at",),
)

TRUST = Trust(since=datetime(2005, 2, 14, tzinfo=UTC), entities=(ACCOUNT, POST, COMMENT))
