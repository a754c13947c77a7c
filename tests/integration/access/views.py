"""All that an account can see of an installation, in a form in which two installations can be compared.

What differs between two that are the same to an account is taken out: numbers of rows become their order of appearance, times become
the step in which they lie, and what is random or measured is left out. Which things there are, how many, in what order, with which words and since
which step stays.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any

from falcon.testing import Result

from tests.integration.access.bazaar import HANDLES, STORES
from tests.integration.access.installations import Installation

NOBODYS = 10**15
"""The number of a row that there is in no installation."""
RECENT = 10
REQUEST_IDS = ("id", "joined_to", "request_id")
OTHER_IDS = ("trace_id", "fetch_id", "event_id", "delivery_id", "api_key_id", "credential_id")
MEASURED = ("ms", "eta", "expected", "secret", "next_cursor", "age")
"""Of these only whether they are there."""
HEADERS = ("etag", "content-length", "ratelimit-reset", "retry-after", "date")
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
CLOCK = re.compile(r"(?<=.)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""A time in a sentence: it is to the second, so it does not say in which step it lies."""
NUMBERED = re.compile(r"((?:request|webhook|delivery|fetch),? |/v1/(?:scrape-requests|webhooks)/|/deliveries/)(\d+)")
STANDING = re.compile(r"[rt]=\d+")
LONGEST_SOON = 100


class Numbers:
    """Of one account in one installation: the numbers of rows that it has been told, by kind, in their order."""

    def __init__(self) -> None:
        self._known: defaultdict[str, dict[Any, int]] = defaultdict(dict)

    def of(self, kind: str, number: Any) -> str:
        known = self._known[kind]
        return f"{kind} #{known.setdefault(number, len(known))}"

    def all(self, kind: str) -> list[int]:
        return list(self._known[kind])


class Eyes:
    """Of one account in one installation: it remembers what it was told, and makes it comparable."""

    def __init__(self, installation: Installation, account: str) -> None:
        self.installation, self.account = installation, account
        self.numbers = Numbers()
        self.cursor: str | None = None
        self._etags: dict[str, str] = {}

    def told(self, result: Result, kind: str = "request", *, foreign: int | None = None) -> tuple[Any, ...]:
        """An answer: its status, headers and body. `kind`: of what the answer is."""
        assert result.status_code != 500, result.text
        body = result.json if result.content and "json" in (result.headers.get("content-type") or "") else None
        return (result.status_code, self._headers(result), self.plain(body, kind, foreign=foreign))

    def plain(self, value: Any, kind: str, *, key: str = "", foreign: int | None = None) -> Any:
        if isinstance(value, dict):
            inner = {"fetches": "fetch", "deliveries": "delivery", "webhooks": "webhook"}.get(key, kind)
            return {name: self.plain(one, inner, key=name, foreign=foreign) for name, one in value.items()}
        if isinstance(value, list):
            return [self.plain(one, kind, key=key, foreign=foreign) for one in value]
        if value is None:
            return None
        if key in MEASURED:
            return "there"
        if isinstance(value, int) and key in REQUEST_IDS:
            return "another's" if value == foreign else self.numbers.of(kind if key == "id" else "request", value)
        if key in OTHER_IDS:
            return self.numbers.of(key.removesuffix("_id"), value)
        return self._text(value, foreign) if isinstance(value, str) else value

    def _text(self, text: str, foreign: int | None) -> str:
        def number(match: re.Match[str]) -> str:
            if int(match[2]) == foreign:
                return f"{match[1]}another's"
            kind = "request" if "request" in match[1] else "delivery" if "deliver" in match[1] else "webhook"
            return match[1] + self.numbers.of("fetch" if "fetch" in match[1] else kind, int(match[2]))

        text = ISO.sub(lambda match: self._step(match[0]), CLOCK.sub("a time", text))
        return NUMBERED.sub(number, text)

    def _step(self, text: str) -> str:
        at = datetime.fromisoformat(text).timestamp()
        marks = self.installation.marks
        return f"step {bisect_right(marks, at)}" if at <= marks[-1] + LONGEST_SOON else "later"

    def _headers(self, result: Result) -> dict[str, str]:
        said = {name.lower(): value for name, value in result.headers.items()}
        if "ratelimit-policy" in said:
            said |= {"ratelimit-remaining": "a budget that accounts share"}
        if "retry-after" in said:
            wait = int(said["retry-after"])
            said["x-wait"] = "long" if wait > LONGEST_SOON else str(wait)
        return {
            name: "there" if name in HEADERS else STANDING.sub("t=", self._text(value, None))
            for name, value in said.items()
        }

    async def view(self, others: Sequence[str], foreign: dict[str, list[int]]) -> list[tuple[str, Any]]:
        """All that it can see. `foreign`: numbers of rows of others, by kind."""
        seen: list[tuple[str, Any]] = []

        async def look(path: str, kind: str = "request", *, changes: bool = False, **said: Any) -> Any:
            again = {"If-None-Match": f'"{self._etags[path]}"'} if path in self._etags else {}
            result = await self.installation.call(f"{self.account}/reads", "GET", path, headers=again, **said)
            if (etag := result.headers.get("etag")) is not None:
                self._etags[path] = etag.strip('"')
            seen.append((f"GET {path}", self.told(result, kind)))
            return result.json if result.status_code == 200 else None

        for query in (
            {"counts": "true", "limit": "200"},
            {"uncollected": "true"},
            {"status": "FAILED", "counts": "true"},
        ):
            await look("/v1/scrape-requests", params=query)
        for number in sorted(self.numbers.all("request"))[-RECENT:]:
            name = self.numbers.of("request", number)
            for behind in ("", "/explain"):
                result = await self.installation.call(
                    f"{self.account}/reads", "GET", f"/v1/scrape-requests/{number}{behind}"
                )
                seen.append((f"GET {name}{behind}", self.told(result)))
        for path in PATHS:
            await look(path, "thing")
        await self._changes(look)
        hooks = await look("/v1/webhooks", "webhook")
        for hook in (hooks or {"webhooks": []})["webhooks"]:
            result = await self.installation.call(
                f"{self.account}/reads", "GET", f"/v1/webhooks/{hook['id']}/deliveries"
            )
            seen.append((f"deliveries of {self.numbers.of('webhook', hook['id'])}", self.told(result, "webhook")))
        seen.append(("sent", self.plain(self.installation.sent[self.account], "request")))
        for other in others:
            result = await self.installation.call(
                self.account, "GET", "/v1/scrape-requests", params={"account_id": other}
            )
            seen.append((f"requests of {other}", self.told(result)))
        async for what, said in self._trespass(foreign):
            seen.append((what, said))
        return seen

    async def _changes(self, look: Callable[..., Any]) -> None:
        since: str | None = None
        for begins in (None, self.cursor):
            since = begins
            while (
                page := await look("/v1/changes", "thing", params={"limit": "3"} | ({"since": since} if since else {}))
            ) is not None:
                since = page["next_cursor"]
                if not page["more"]:
                    break
        self.cursor = since

    async def _trespass(self, foreign: dict[str, list[int]]) -> AsyncIterator[tuple[str, Any]]:
        """What it is told of rows of others, and when it tries to change them."""
        for kind, tries in TRESPASSES.items():
            for n, number in enumerate(foreign[kind]):
                for method, path, body in tries:
                    said = {} if body is None else {"json": body}
                    result = await self.installation.call(self.account, method, path.format(number), **said)
                    yield f"{method} {path} of other {n}", self.told(result, foreign=number)


TRESPASSES: dict[str, list[tuple[str, str, Any]]] = {
    "request": [
        ("GET", "/v1/scrape-requests/{}", None),
        ("GET", "/v1/scrape-requests/{}/explain", None),
        ("POST", "/v1/scrape-requests/{}/cancel", None),
        ("POST", "/v1/scrape-requests/{}/retry", None),
    ],
    "webhook": [
        ("GET", "/v1/webhooks/{}", None),
        ("GET", "/v1/webhooks/{}/deliveries", None),
        ("PATCH", "/v1/webhooks/{}", {"state": "paused"}),
        ("POST", "/v1/webhooks/{}/rotate", None),
        ("POST", "/v1/webhooks/{}/test", None),
        ("DELETE", "/v1/webhooks/{}", None),
    ],
}
PATHS = [
    *(f"/v1/profiles/bazaar/{handle}{behind}" for handle in HANDLES for behind in ("?posts=3", "/history", "/posts")),
    *(f"/v1/posts/bazaar/p-{handle}-0{behind}" for handle in HANDLES[:1] for behind in ("", "/history")),
    *(
        f"/v1/stores/bazaar/{store}{behind}"
        for store in STORES
        for behind in ("", "/orders", "/insights", "/insights/history")
    ),
    *(f"/v1/orders/bazaar/{store}-1" for store in STORES),
    *(f"/v1/insights/bazaar/{store}%2Freach/history" for store in STORES[:1]),
]
