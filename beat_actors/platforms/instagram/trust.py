"""What Instagram's numbers cannot be, and how they usually move."""

from datetime import UTC, datetime

from beat_actors.platforms.instagram.entities import (
    InstagramAccount,
    InstagramComment,
    InstagramPost,
    InstagramStory,
)
from beat_actors.platforms.interface import EntityRules, Number, Placeholder, SeldomMore, Trust

# More accounts than people: none has a tenth of it.
MOST = 10_000_000_000
WEEKS = 30.0

ACCOUNT = EntityRules(
    record=InstagramAccount,
    version=1,
    key="profile_id",
    numbers=(
        Number("followers", usual=0.003, drop_from=1, most=MOST),
        Number("following", usual=0.008, least=0.1, drop_from=20, most=1_000_000),
        # People archive and delete many posts at once.
        Number("media_count", usual=0.01, least=0.25, drop_from=20, most=10_000_000),
    ),
    identity={
        "profile_by_handle": {"handle": "handle"},
        "profile_by_id": {"profile_id": "profile_id"},
    },
    handle="handle",
    verified="is_verified",
    face=("full_name", "biography", "profile_pic_url"),
)
POST = EntityRules(
    record=InstagramPost,
    version=1,
    key="shortcode",
    numbers=(
        Number("likes", usual=0.01, least=0.08, drop_from=20, settles=WEEKS, most=MOST),
        Number("comments", usual=0.01, least=0.15, drop_from=20, settles=WEEKS, most=MOST),
        Number("views", usual=0.01, drop_from=20, only_grows=True, settles=WEEKS, most=MOST),
        Number("plays", usual=0.01, drop_from=20, only_grows=True, settles=WEEKS, most=MOST),
    ),
    identity={"post_by_shortcode": {"shortcode": "shortcode"}},
    dates=("taken_at",),
    born="taken_at",
    seldom=(
        SeldomMore("likes", "plays", at_least=1000),
        # A giveaway has more comments than likes, but not so many more.
        SeldomMore("comments", "likes", times=20, at_least=1000),
    ),
    # source: a provider that does not report hidden likes gives the three that the page names.
    placeholder=Placeholder("likes", 3),
)
STORY = EntityRules(
    record=InstagramStory,
    version=1,
    key="story_id",
    numbers=(Number("likes"), Number("comments")),
    dates=("taken_at",),
)
COMMENT = EntityRules(
    record=InstagramComment,
    version=1,
    key="comment_id",
    numbers=(Number("likes"),),
    dates=("commented_at",),
)

# No two of the sources are known to resell one backend.
TRUST = Trust(since=datetime(2010, 10, 6, tzinfo=UTC), entities=(ACCOUNT, POST, STORY, COMMENT))
