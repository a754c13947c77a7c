"""What an answer to an unknown path or method says: the routes and methods that exist."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_SHOWN = 5
LONGEST = 40
"""Characters of a segment that are compared, so that the comparison is short whatever a caller sends."""


def no_route(path: str, templates: Iterable[str]) -> str:
    """The detail for a path that no route has. It names the routes that are most alike, and looks at each route once."""
    known = list(templates)
    wanted = _segments(path)
    first = {_segments(each)[0] for each in known}
    begins = get_close_matches(wanted[0][:LONGEST], first, n=1, cutoff=0.6)
    alike = [each for each in known if _segments(each)[0] in begins]
    alike.sort(key=lambda each: abs(len(_segments(each)) - len(wanted)))
    hint = f"the nearest are {', '.join(alike[:MOST_SHOWN])}" if alike else "routes begin with /v1/"
    return f"no route has this path; {hint}. GET /openapi.json lists all routes, /docs shows them"


def no_method(method: str, template: str, allowed: str) -> str:
    """The detail for a method that a route does not have."""
    return f"{template} does not take {method[:20]}; it takes {allowed or 'no method'}"


def _segments(path: str) -> list[str]:
    return path.removeprefix("/v1").strip("/").split("/")
