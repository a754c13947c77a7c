"""Off-peak hours, into which work that can wait is deferred. Pure."""

from datetime import datetime, timedelta


def moment(now: datetime, hours: str, share: float) -> datetime:
    """A moment in the off-peak hours (`22-6`, UTC) that begin next or have begun; `share` (0..1) of what is left of them has passed then.

    With a random share, work that is deferred spreads over those hours and does not come all at once.
    """
    first, last = (int(hour) for hour in hours.split("-"))
    start = now.replace(hour=first, minute=0, second=0, microsecond=0)
    length = timedelta(hours=(last - first) % 24 or 24)
    if start > now:
        start -= timedelta(days=1)
    end = start + length
    if now >= end:
        start += timedelta(days=1)
        end += timedelta(days=1)
    begin = max(start, now)
    return begin + (end - begin) * share
