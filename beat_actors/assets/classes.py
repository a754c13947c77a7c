"""The classes of assets. They are uploaded in this order."""

import enum


class AssetClass(enum.IntEnum):
    """What a media field shows. The numbers are stored in `asset_log.class`."""

    AVATAR = 0
    """The picture of a profile."""
    THUMBNAIL = 1
    """The preview picture of a post."""
    STORY = 2
    """The picture or video of a post that its platform removes after a day."""
    OTHER = 3
