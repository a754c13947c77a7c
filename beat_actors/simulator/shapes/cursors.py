"""Opaque cursors: each belongs to the source that issued it and to one person; another's is refused, as a provider would."""

import base64

from beat_actors.simulator.population import Person


def encode(source: str, person: Person, offset: int) -> str:
    """The cursor of the page that begins at the `offset`-th post."""
    raw = f"{source}|{person.index}|{offset}|{person.digest[:36]}".encode()
    return "QVFD" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(source: str, person: Person, cursor: str | None) -> int | None:
    """The offset; 0 for no cursor, `None` for one that is not this source's and this person's."""
    if not cursor:
        return 0
    payload = cursor.removeprefix("QVFD")
    try:
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    except ValueError:
        return None
    parts = raw.split("|")
    if len(parts) != 4 or parts[:2] != [source, str(person.index)] or parts[3] != person.digest[:36]:
        return None
    return int(parts[2]) if parts[2].isdigit() else None
