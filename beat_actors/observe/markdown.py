"""The page as Markdown, so that it can be pasted into an incident channel. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from beat_actors.moments import moment
from beat_actors.observe.page import Brief, Change, OpenDataBreaker, Trouble
from beat_actors.observe.words import lasting, number

IN_FULL = 2
"""Problems that are told in full; of the others one line each."""
CHANGES, PARTS = 8, 4
"""Lines of changes before, and since; parts of a problem that are named."""
LONGEST = 400
"""Characters of a text of an alert: one that lists many names stays one line of the page."""


def markdown(page: Brief) -> str:
    """A calm page is one line, unless data breakers are open."""
    if page.status == "calm":
        return "\n".join([f"{page.sentence} ({moment(page.at)})", *_data_breakers(page)]) + "\n"
    if page.status == "past":
        return _past(page)
    lines = [f"# {page.sentence}", "", f"As of {moment(page.at)}."]
    for place, problem in enumerate(page.problems, 1):
        lines += [
            "",
            *(_in_full(place, problem, page.at) if place <= IN_FULL else [_in_short(place, problem, page.at)]),
        ]
    if page.left_out:
        lines += ["", f"{number(page.left_out, 'more problem')}: `beat alerts` lists all."]
    lines += _data_breakers(page)
    lines += ["", "## In the hour before it began", "", *(_changes(page.before) or ["Nothing was changed."])]
    if page.after:
        lines += ["", "## Changed since", "", *_changes(page.after)]
    return "\n".join(lines) + "\n"


def _in_full(place: int, problem: Trouble, at: datetime) -> list[str]:
    lines = [
        f"## {place}. {problem.key} ({_of(problem)}), {_since(problem, at)}",
        "",
        f"- **Cause**: {_short(problem.cause)}",
        f"- **Affected**: {_affected(problem, at)}. {_sentence(problem.impact)}",
        f"- **Beat does**: {_short(problem.automatic)}",
        f"- **Next**: {_next(problem, at)}",
        f"- **Safe action**: {_short(problem.action)}",
    ]
    if problem.parts:
        named = ", ".join(one.key for one in problem.parts[:PARTS])
        more = f" and {len(problem.parts) - PARTS} more" if len(problem.parts) > PARTS else ""
        lines.append(f"- **Consequences**: {named}{more}")
    return lines


def _in_short(place: int, problem: Trouble, at: datetime) -> str:
    action = f" Safe action: `{problem.command}`." if problem.command else ""
    return f"{place}. **{problem.key}** ({_of(problem)}), {_since(problem, at)}: {_short(problem.cause)}. {_sentence(problem.affected.sentence)}{action}"


def _data_breakers(page: Brief) -> list[str]:
    """A line for each that is open; none where all are closed."""
    if not page.data_breakers:
        return []
    return ["", "## Data breakers that are open", "", *(_distrusted(one, page.at) for one in page.data_breakers)]


def _distrusted(one: OpenDataBreaker, at: datetime) -> str:
    version = f"parser version {one.parser_version}{', the next one' if one.following else ''}"
    said = "an operator opened it" if one.by_hand else _short(one.why)
    share = "" if one.share is None else f"; {one.share:.0%} of its last answers were out of range"
    since = f"since {moment(one.since)} ({lasting(at - one.since)})"
    return f"- **{one.source} {one.operation}** ({version}), {since}: {said}{share}. Safe action: {one.action}."


def _of(problem: Trouble) -> str:
    return f"{problem.severity}, silenced" if problem.silenced else problem.severity


def _since(problem: Trouble, at: datetime) -> str:
    return (
        f"since {moment(problem.since)} ({lasting(at - problem.since)})" if problem.since else "since when is not known"
    )


def _affected(problem: Trouble, at: datetime) -> str:
    found = problem.affected
    waited = f"; the oldest has waited for {lasting(at - found.oldest)}" if found.oldest and not found.failed else ""
    return f"{found.sentence}{waited}"


def _next(problem: Trouble, at: datetime) -> str:
    if problem.next_at is None:
        return problem.next
    if problem.next_at <= at:
        return problem.next
    return f"{problem.next} at {moment(problem.next_at)} (in {lasting(problem.next_at - at)})"


def _sentence(text: str) -> str:
    text = _short(text)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '…')) else '.'}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _changes(found: Sequence[Change]) -> list[str]:
    """The last ones. What operators and deployments changed stays before restarts."""
    kept = sorted(found, key=lambda one: (one.kind != "restart", one.at))[-CHANGES:]
    lines = [
        f"- {moment(one.at)} {_who(one)}{_short(one.what)}{f' ({one.times} times)' if one.times > 1 else ''}"
        for one in sorted(kept, key=lambda one: one.at)
    ]
    if len(found) > len(kept):
        lines.append(f"- and {number(len(found) - len(kept), 'more change')}: `beat audit`")
    return lines


def _who(one: Change) -> str:
    return f"{one.who or 'an operator'}: " if one.kind == "operator" else ""


def _past(page: Brief) -> str:
    lines = [f"# {page.sentence}", ""]
    lines += [f"- {moment(one.at)} {_short(one.what)}" for one in page.timeline] or ["Nothing happened."]
    if page.left_out:
        lines.append(f"- and {page.left_out:,} more; ask for a shorter time")
    if any(one.leases or one.outcomes for one in page.throughput):
        days = page.since is not None and page.until is not None and page.until - page.since > timedelta(days=1)
        form = "%Y-%m-%dT%H:%M" if days else "%H:%M:%S"
        lines += ["", "| from (UTC) | leases/min | outcomes/min |", "|---|---:|---:|"]
        lines += [
            f"| {one.since.astimezone(UTC):{form}} | {'about ' if one.estimated else ''}{one.leases:,.1f} | {one.outcomes:,.1f} |"
            for one in page.throughput
        ]
    return "\n".join(lines) + "\n"
