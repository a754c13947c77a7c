"""The Graph API's insights, in today's shape (`total_value`) and in the older one (`values`).

source: Meta's Graph API reference. Insights that are not there are an empty list, never 0.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.entities import InstagramPostInsight, InstagramProfileInsight
from beat_actors.platforms.instagram.payloads import bare_id
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, count, decoder, text, timestamp, whole

PROFILE_INSIGHT_TELLS, POST_INSIGHT_TELLS = told(InstagramProfileInsight), told(InstagramPostInsight)


class Result(msgspec.Struct):
    dimension_values: list[Id | None]
    value: Count = None


class Breakdown(msgspec.Struct):
    dimension_keys: list[str] | None = None
    results: list[Result] | None = None


class Total(msgspec.Struct):
    value: Count = None
    breakdowns: list[Breakdown] | None = None


class Point(msgspec.Struct):
    """One of `values`, the older shape: a number, or numbers by what they are broken down by."""

    value: int | float | str | dict[str, Count] | None = None
    end_time: str | None = None


class Insight(msgspec.Struct):
    """`id` is `OBJECT/insights/METRIC/PERIOD`."""

    name: str
    id: str | None = None
    period: str | None = None
    total_value: Total | None = None
    values: list[Point] | None = None


class Insights(msgspec.Struct):
    data: list[Insight]


class Number(msgspec.Struct, frozen=True):
    """One number of an insight, whichever shape it came in."""

    metric: str
    period: str | None
    value: int
    breakdown: str | None = None
    dimension: str | None = None
    ends_at: datetime | None = None

    def key(self, subject: str, timeframe: str | None) -> str:
        ends_at = self.ends_at.isoformat() if self.ends_at else None
        parts = (subject, self.metric, self.period, timeframe, self.breakdown, self.dimension, ends_at)
        return "|".join(part or "" for part in parts)


decode_insights = decoder(Insights)


def profile_insights(body: bytes, spec: FetchSpec) -> Parsed:
    profile_id, timeframe = spec.params["user_id"], spec.params.get("timeframe")
    return Parsed(
        [
            InstagramProfileInsight(
                insight_id=number.key(profile_id, timeframe),
                profile_id=profile_id,
                timeframe=timeframe,
                **msgspec.structs.asdict(number),
            )
            for number in _numbers(decode_insights(body), profile_id)
        ]
    )


def post_insights(body: bytes, spec: FetchSpec) -> Parsed:
    post_id = bare_id(spec.params["media_id"]) or ""
    return Parsed(
        [
            InstagramPostInsight(
                insight_id=number.key(post_id, None), post_id=post_id, **msgspec.structs.asdict(number)
            )
            for number in _numbers(decode_insights(body), post_id)
        ]
    )


def _numbers(insights: Insights, of: str) -> Iterator[Number]:
    """All the numbers there are of the object `of`. A missing number gives none. Raises `Malformed` for another's."""
    for i, insight in enumerate(insights.data):
        at = f"$.data[{i}]"
        told, named, _ = (insight.id or "").partition("/insights/")
        if named and bare_id(told) != of:
            raise Malformed(f"asked for {of}, the answer is of {told[:40]!r}", path=f"{at}.id")
        name, period = text(insight.name), text(insight.period)
        if not name:
            raise Malformed("an insight without a name", path=f"{at}.name")
        if insight.total_value is not None:
            yield from _of_total(name, period, insight.total_value, f"{at}.total_value")
        for j, point in enumerate(insight.values or []):
            if _is_the_total(point, insight.total_value):
                continue
            yield from _of_point(name, period, point, f"{at}.values[{j}]")


def _is_the_total(point: Point, total: Total | None) -> bool:
    """Some answers have one number in both shapes: once as `total_value`, and once in `values`, without a time."""
    if total is None or point.end_time is not None or isinstance(point.value, dict):
        return False
    return total.value is not None and whole(point.value) == whole(total.value)


def _of_total(name: str, period: str | None, total: Total, at: str) -> Iterator[Number]:
    value = count(total.value, f"{at}.value")
    if value is not None:
        yield Number(name, period, value)
    for i, breakdown in enumerate(total.breakdowns or []):
        keys = text(",".join(breakdown.dimension_keys or [])) or None
        for j, result in enumerate(breakdown.results or []):
            if keys and len(result.dimension_values) != len(breakdown.dimension_keys or []):
                where = f"{at}.breakdowns[{i}].results[{j}].dimension_values"
                raise Malformed("a number that is not broken down by what it says", path=where)
            part = count(result.value, f"{at}.breakdowns[{i}].results[{j}].value")
            if part is not None:
                yield Number(name, period, part, keys, _dimension(result.dimension_values))


def _of_point(name: str, period: str | None, point: Point, at: str) -> Iterator[Number]:
    ends_at = timestamp(point.end_time, f"{at}.end_time")
    if isinstance(point.value, dict):
        parts = {text(key): count(value, f"{at}.value.{key}") for key, value in point.value.items()}
        for dimension, part in parts.items():
            if part is not None:
                yield Number(name, period, part, None, dimension, ends_at)
        return
    value = count(point.value, f"{at}.value")
    if value is not None:
        yield Number(name, period, value, None, None, ends_at)


def _dimension(values: Sequence[Id | None]) -> str | None:
    return text(",".join("" if value is None else str(value) for value in values))
