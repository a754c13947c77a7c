"""The spans of one ended request, made of its rows. Pure: the same rows give the same spans with the same ids.

No attribute holds a handle, a parameter, a URL, a credential, or a text of a provider or a consumer.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from beat_actors.traces import spans as names
from beat_actors.traces.context import Context, delivering, ids, publishing, span_of
from beat_actors.traces.rows import MOST_CALLS, MOST_FETCHES, CallRow, DeliveryRow, FetchRow, Rows
from beat_actors.traces.spans import Kind, Link, Span, Value

ServerOf = Callable[[CallRow], Mapping[str, Value | None]]
"""What may be told of the server that a call went to."""

OTHER = "_OTHER"
"""What the semantic conventions have for an error that is not one of a known set."""
NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
SOON = timedelta(milliseconds=50)
"""Between the commit of an answer and the stage that reads it in the same process."""
OK = "ok"
SYSTEM = "beat"


def tree(rows: Rows, reason: str, server_of: ServerOf) -> list[Span]:
    """The spans of a request, the root first. `reason`: why it is exported."""
    return list(_Trace(rows, reason, server_of).spans())


class _Trace:
    def __init__(self, rows: Rows, reason: str, server_of: ServerOf) -> None:
        self.rows, self.reason, self.server_of = rows, reason, server_of
        self.ended, self.run = rows.ended, rows.ended.run or 0
        self.id, self.root, self.published = rows.ended.ids
        self.start = _start(rows)
        self.end = max(rows.ended.scraped_at, self.start)

    def spans(self) -> Iterator[Span]:
        yield self._root()
        if self.run == 0:
            how = {"beat.request.accepted_as": self.ended.accepted_as or "new"}
            yield self._span("accept", Kind.INTERNAL, self.start, self.start, how, of=("accept",))
        if self.ended.leader_id is not None and self.ended.accepted_as != "stored" and not self.rows.fetches:
            yield self._span("wait", Kind.INTERNAL, self.start, self.end, {"beat.wait.after": "joined"}, of=("wait",))
        for call in self.rows.calls:
            if call.fetch_id is None:
                yield self._call(call, self.root)
        for fetch in self.rows.fetches:
            yield from self._fetch(fetch)
        yield from self._events()

    def _root(self) -> Span:
        ended, context = self.ended, self.ended.context if self.run == 0 else None
        attributes: dict[str, Value | None] = {
            "beat.platform": ended.platform,
            "beat.flow": ended.flow,
            "beat.request.id": ended.id,
            "beat.request.run": self.run,
            "beat.request.priority": ended.priority,
            "beat.request.status": ended.happened.upper(),
            "beat.request.accepted_as": ended.accepted_as,
            "beat.request.batch_id": ended.batch_id,
            "beat.request.items": ended.items,
            "beat.trace.reason": self.reason,
            **_messaging("process", "process", f"{ended.platform}.{ended.flow}"),
        }
        if len(self.rows.fetches) >= MOST_FETCHES or len(self.rows.calls) >= MOST_CALLS:
            attributes["beat.trace.left_out"] = True
        failed = ended.happened == "failed"
        if failed:
            attributes[names.ERROR_TYPE] = named(ended.code)
        return Span(
            trace_id=self.id,
            span_id=self.root,
            parent_id=None if context is None else context.parent_id,
            name=f"request {ended.platform}.{ended.flow}",
            kind=Kind.CONSUMER,
            start=self.start,
            end=self.end,
            attributes=_given(attributes),
            failed=failed,
            remote=context is not None,
            links=tuple(self._links()),
        )

    def _links(self) -> Iterator[Link]:
        """To the request whose fetches or answer it shares, and to the run before."""
        ended = self.ended
        if ended.leader_id is not None and ended.leader_created_at is not None:
            run = ended.leader_run or 0
            theirs = ids(ended.leader_id, ended.leader_created_at, run, Context.read(ended.leader_trace))
            yield Link(theirs.trace, theirs.root)
        if self.run > 0:
            before = ids(ended.id, ended.created_at, self.run - 1, ended.context)
            yield Link(before.trace, before.root)

    def _fetch(self, fetch: FetchRow) -> Iterator[Span]:
        calls = [call for call in self.rows.calls if call.fetch_id == fetch.id]
        failed, end = fetch.stage == "FAILED", self._ended_at(fetch, calls)
        attributes: dict[str, Value | None] = {
            "beat.operation": fetch.operation,
            "beat.source": fetch.source,
            "beat.fetch.id": fetch.id,
            "beat.fetch.page": fetch.page,
            "beat.fetch.stage": fetch.stage,
            "beat.fetch.attempts": fetch.attempt,
            "beat.fetch.rotations": fetch.rotations,
            "beat.fetch.retries": fetch.retries,
            names.ERROR_TYPE: named(fetch.code) if failed else None,
        }
        of, start = ("fetch", fetch.id), fetch.created_at
        yield self._span(f"fetch {fetch.operation}", Kind.INTERNAL, start, end, attributes, of=of, failed=failed)
        parent = self._id(*of)
        for wait in self._waits(fetch, calls, end):
            yield self._span(
                "wait",
                Kind.INTERNAL,
                wait[0],
                wait[1],
                {"beat.wait.after": wait[2]},
                of=("wait", fetch.id, wait[3]),
                parent=parent,
            )
        for call in calls:
            yield self._call(call, parent)
        yield from self._stages(fetch, calls, end, parent)

    def _waits(
        self, fetch: FetchRow, calls: Sequence[CallRow], end: datetime
    ) -> Iterator[tuple[datetime, datetime, str, int]]:
        """From, to, after what, and how many before it: until each call begins, and after the last one if nothing came of it."""
        since, after = fetch.created_at, "accepted" if fetch is self.rows.fetches[0] else "page"
        for number, call in enumerate(calls):
            begun = _begun(call)
            if begun > since:
                yield since, begun, after, number
            since, after = max(since, call.at), call.outcome
        if after != OK and end > since:
            yield since, end, after, len(calls)

    def _call(self, call: CallRow, parent: str) -> Span:
        method = call.method.upper() if call.method.upper() in METHODS else OTHER
        failed = call.outcome != OK
        attributes: dict[str, Value | None] = {
            "beat.platform": call.platform,
            "beat.source": call.source,
            "beat.operation": call.operation,
            "beat.call.attempt": call.attempt,
            "beat.call.outcome": call.outcome,
            names.HTTP_METHOD: method,
            names.HTTP_STATUS: call.status,
            names.HTTP_BODY_SIZE: call.bytes,
            names.ERROR_TYPE: _error_of(call) if failed else None,
            **self.server_of(call),
        }
        of = ("call", call.fetch_id, call.source, call.operation, call.at.isoformat())
        name = f"{'HTTP' if method == OTHER else method} {call.operation}"
        return self._span(name, Kind.CLIENT, _begun(call), call.at, attributes, of=of, parent=parent, failed=failed)

    def _stages(self, fetch: FetchRow, calls: Sequence[CallRow], end: datetime, parent: str) -> Iterator[Span]:
        """What was done with the last answer. A fetch that was handed over once more after its answer was stored went through the stage `process`."""
        if not calls or calls[-1].outcome != OK or fetch.claimed_at is None:
            return
        answered, sent, claimed = calls[-1].at, fetch.sent_at or calls[-1].at, fetch.claimed_at
        steps = [("ingest", answered, end)]
        if sent > answered + SOON and claimed >= sent:
            steps = [("ingest", answered, sent), ("process", claimed, end)]
        for name, since, until in steps:
            is_last = until is end
            attributes: dict[str, Value | None] = {
                "beat.operation": fetch.operation,
                "beat.parser.version": fetch.parser_version,
                **_messaging("process", name, name),
                names.ERROR_TYPE: named(fetch.code) if is_last and fetch.stage == "FAILED" else None,
            }
            failed = is_last and fetch.stage == "FAILED"
            yield self._span(
                name, Kind.CONSUMER, since, until, attributes, of=(name, fetch.id), parent=parent, failed=failed
            )

    def _events(self) -> Iterator[Span]:
        """The events that are known: the end of the request, and those of which a webhook was told."""
        told = {delivery.type: delivery.occurred_at for delivery in self.rows.deliveries}
        told[self.ended.type] = self.end
        for of_type, at in told.items():
            attributes = {"beat.event.type": of_type, **_messaging("send", "publish", "events")}
            yield self._span(f"publish {of_type}", Kind.PRODUCER, at, at, attributes, span=self._publishing(of_type))
        for delivery in self.rows.deliveries:
            yield self._delivery(delivery)

    def _delivery(self, delivery: DeliveryRow) -> Span:
        failed = delivery.state != "delivered"
        error = (
            str(delivery.status) if delivery.status is not None and delivery.status >= 300 else named(delivery.state)
        )
        attributes: dict[str, Value | None] = {
            "beat.event.type": delivery.type,
            "beat.webhook.endpoint": delivery.endpoint_id,
            "beat.webhook.attempts": delivery.attempt,
            "beat.webhook.state": delivery.state,
            names.HTTP_METHOD: "POST",
            names.HTTP_STATUS: delivery.status,
            names.ERROR_TYPE: error if failed else None,
        }
        of = delivering(delivery.type, delivery.endpoint_id)
        parent = self._publishing(delivery.type)
        return self._span(
            "POST webhook",
            Kind.CLIENT,
            delivery.occurred_at,
            delivery.ended_at,
            attributes,
            of=of,
            parent=parent,
            failed=failed,
        )

    def _ended_at(self, fetch: FetchRow, calls: Sequence[CallRow]) -> datetime:
        """When a fetch ended. Its row does not say so: it ends in the transaction that adds its follow-ups, or that ends the request."""
        known = [fetch.created_at, *(call.at for call in calls)]
        if calls:
            known.extend(at for at in (fetch.sent_at, fetch.claimed_at) if at is not None)
        latest = max(known)
        later = [other.created_at for other in self.rows.fetches if other.id > fetch.id and other.created_at >= latest]
        return max(latest, min([self.end, *later]))

    def _publishing(self, of_type: str) -> str:
        return self.published if of_type == self.ended.type else self._id(*publishing(of_type))

    def _id(self, *of: object) -> str:
        return span_of(self.id, self.ended.id, self.run, *of)

    def _span(
        self,
        name: str,
        kind: Kind,
        start: datetime,
        end: datetime,
        attributes: Mapping[str, Value | None],
        *,
        of: tuple[object, ...] = (),
        span: str | None = None,
        parent: str | None = None,
        failed: bool = False,
    ) -> Span:
        return Span(
            trace_id=self.id,
            span_id=span or self._id(*of),
            parent_id=parent or self.root,
            name=name,
            kind=kind,
            start=start,
            end=max(start, end),
            attributes=_given(attributes),
            failed=failed,
        )


def named(code: str | None) -> str:
    """An error code as `error.type`: what is no name is `_OTHER`."""
    return code if code is not None and NAME.fullmatch(code) else OTHER


def _error_of(call: CallRow) -> str:
    return str(call.status) if call.status is not None and call.status >= 400 else named(call.outcome)


def _begun(call: CallRow) -> datetime:
    return call.at - timedelta(milliseconds=call.ms or 0.0)


def _start(rows: Rows) -> datetime:
    ended = rows.ended
    if not ended.run:
        return ended.created_at
    return min([fetch.created_at for fetch in rows.fetches] or [ended.picked_at or ended.scraped_at])


def _messaging(kind: str, operation: str, destination: str) -> dict[str, Value | None]:
    return {
        names.MESSAGING_SYSTEM: SYSTEM,
        names.MESSAGING_TYPE: kind,
        names.MESSAGING_OPERATION: operation,
        names.MESSAGING_DESTINATION: destination,
    }


def _given(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}
