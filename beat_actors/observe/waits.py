"""Why dispatch groups wait, as one of a few words. The sentences that people read name owners, limits and flows; a label must not. Pure."""

from collections.abc import Iterable

from beat_actors.broker.state import Blocked

WORDS = (
    ("paused by an operator", "paused"),
    ("outage", "breaker"),
    ("calls for ", "owner_breaker"),
    ("unreadable answers for ", "owner_parser_breaker"),
    ("unreadable answers", "parser_breaker"),
    ("its answers are wrong", "data_breaker"),
    ("one probe call", "probing"),
    ("its limit of calls in flight", "in_flight"),
    ("it has no credential", "no_credential"),
    ("its other credentials", "other_credentials"),
    ("dead", "dead"),
    ("disabled by hand", "disabled"),
    ("the provider denies", "denied"),
    ("cooling down", "cooling_down"),
    ("its token has expired", "refreshing"),
    ("the provider says", "reported_exhausted"),
    ("its turn", "turn"),
    ("limit ", "limit"),
    ("the flow ", "flow"),
)
"""How sentences begin, and their word."""
OTHER = "other"


def word(why: str) -> str:
    """The word of a reason's sentence."""
    return next((word for beginning, word in WORDS if why.startswith(beginning)), OTHER)


def reasons(blocked: Blocked) -> set[tuple[str, str]]:
    """(source, word) of each reason for which a group waits, once. The source is empty where the flow is the reason."""
    return distinct((one.source, one.why) for one in blocked.reasons)


def distinct(reasons: Iterable[tuple[str | None, str]]) -> set[tuple[str, str]]:
    """(source, word) of each of these (source, sentence), once."""
    return {(source or "", word(why)) for source, why in reasons}
