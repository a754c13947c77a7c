"""How the document of the API names and groups its operations: in words that a generated client can use as names."""

import re
from typing import NamedTuple

from api.calls import Call


class Tag(NamedTuple):
    """A group of operations, with the first segments of its paths."""

    name: str
    description: str
    segments: tuple[str, ...]


DATA = "Data"
TAGS = (
    Tag("Requests", "Ask for data, follow requests, and cancel or retry them.", ("scrape-requests",)),
    Tag("Batches", "Follow many requests under one id.", ("batches",)),
    Tag(DATA, "Read stored data: profiles, posts, orders and their histories.", ("changes",)),
    Tag("Assets", "Pictures and videos of stored data.", ("assets",)),
    Tag("Erasures", "Erasure of a person's data.", ("erasures",)),
    Tag("Platforms", "Platforms with their flows, parameters and kinds of data.", ("platforms",)),
    Tag("Webhooks", "Endpoints that receive events, and their deliveries.", ("webhooks",)),
    Tag("Events", "The log of events, the sinks that it is published to, and replays.", ("events",)),
    Tag("Limits", "Limits on on-demand requests.", ("limits", "forecast")),
    Tag(
        "Overview", "What is wrong and why on one page, and the whole installation at a moment.", ("brief", "overview")
    ),
    Tag("Alerts", "Open alerts, with impact and recommended action.", ("alerts",)),
    Tag("Notifications", "Where alerts are sent, and the messages that were sent.", ("notify",)),
    Tag("Sources", "Providers and their circuit breakers.", ("sources", "scorecard")),
    Tag("Credentials", "Credentials for providers, without their secrets.", ("credentials",)),
    Tag("Flows", "Flows and how many of their calls may be in flight.", ("flows",)),
    Tag("Held records", "Records that have to be confirmed before they are written.", ("held",)),
    Tag("Quarantine", "Payloads that could not be processed.", ("quarantine",)),
    Tag("Restores", "What wrong observations have reached, and how entities are set right.", ("blast", "restores")),
    Tag("Long-running requests", "List long-running requests, and reclaim them from their workers.", ("stuck",)),
    Tag("Queues", "Queues in Redis and their messages.", ("queues", "messages")),
    Tag("Database", "PostgreSQL as Beat uses it, and the processes of Beat.", ("database",)),
    Tag("API keys", "Keys for this API.", ("keys",)),
    Tag("Accounts", "Accounts and the owners that they may use.", ("accounts", "grants")),
    Tag("Audit", "Changes by operators and keys.", ("audit",)),
    Tag(
        "Health",
        "Liveness and readiness of the process, and the metrics of the installation.",
        ("healthz", "readyz", "metrics"),
    ),
    Tag(
        "Documentation",
        "This document, and the schemas of events.",
        ("openapi.json", "docs", "schemas", "asyncapi.json"),
    ),
)
"""In the order of use: consumers first, then operators, then administrators."""
SINGULAR = {"history": "history", "audit": "audit", "quarantine": "quarantine_entry", "batches": "batch"}
ONE = frozenset({"backlog", "forecast", "payload", "provenance"})
"""The last segment of a path whose answer is one thing."""
LISTS = re.compile(r"s$")
"""The last segment of a path that lists or creates things."""


def tag_of(path: str, kinds: frozenset[str]) -> str:
    """The group of a path. `kinds`: the first segments of the routes of data."""
    first = _segments(path)[0]
    if first in kinds:
        return DATA
    known = (tag.name for tag in TAGS if first in tag.segments)
    return next(known, first.replace("-", " ").capitalize())


def operation_id(method: str, path: str, call: Call) -> str:
    """The name of an operation, such as `list_scrape_requests` or `cancel_scrape_request`."""
    if call.named:
        return call.named
    segments = _segments(path)
    literals = [segment for segment in segments if not segment.startswith("{")]
    *above, last = literals
    owners = [_singular(each) for each in above]
    of_one = len(segments) > len(literals)
    if segments[-1].startswith("{"):
        verb = {"GET": "get", "PATCH": "update", "PUT": "replace", "DELETE": "delete", "POST": "change"}[method]
        return "_".join([verb, *owners, _singular(last)])
    if method == "GET" and last == "history":
        # The history of a list keeps the list's name in the plural, so that it differs from the history of one thing of that kind.
        listed = len(above) > 1 or not of_one
        return "_".join(["get", *owners[:-1], _plain(above[-1]) if listed else owners[-1], "history"])
    if method == "GET":
        return "_".join(["get" if last in ONE else "list", *owners, _plain(last)])
    if method == "DELETE":
        return "_".join(["delete", *owners, _singular(last)])
    if LISTS.search(last):
        return "_".join(["create", *owners, _singular(last)])
    return "_".join([_plain(last), *owners]) if of_one else "_".join([_plain(last), *(_plain(each) for each in above)])


def one_of_kind(kind: str) -> str:
    """A kind of data in the singular, as sentences name it."""
    return _singular(kind).replace("_", " ")


def _segments(path: str) -> list[str]:
    return path.removeprefix("/v1").strip("/").split("/")


def _plain(segment: str) -> str:
    return re.sub(r"\W+", "_", segment)


def _singular(segment: str) -> str:
    if segment in SINGULAR:
        return SINGULAR[segment]
    return _plain(re.sub(r"ies$", "y", segment) if segment.endswith("ies") else segment.removesuffix("s"))
