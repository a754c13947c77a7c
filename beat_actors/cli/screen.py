"""The screens of `beat top`: lines of a given width, made of a `Picture`. Pure.

Each view fits a terminal of 80 x 24; a larger one shows more rows.
"""

import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from beat_actors.cli.output import printable
from beat_actors.moments import moment
from beat_actors.observe.picture import AlertLine, Picture, ProcessLine, SourceLine
from beat_actors.observe.words import lasting

VIEWS = {"h": "home", "s": "sources", "c": "credentials", "w": "waiting", "p": "processes", "a": "alerts"}
"""The views by their keys."""
KEYS = "h home  s sources  c credentials  w waiting  p processes  a alerts  j k scroll  q quit"
SEVERITY = {"critical": "bold red", "warning": "yellow", "info": "dim"}
FIXED = 11
"""Lines of the view `home` that are always there: titles, figures, the keys."""
UNLED = timedelta(seconds=15)


def screen(
    picture: Picture, view: str, width: int, height: int, *, first: int = 0, trouble: str | None = None
) -> list[Text]:
    """Exactly `height` lines of at most `width` cells. `first`: the row that a list begins with. `trouble`: why the picture is not of now."""
    body = _home(picture, width, height) if view == "home" else _list(picture, view, width, height, first)
    lines = [_title(picture, width, trouble), *body][: height - 1]
    lines += [Text()] * (height - 1 - len(lines))
    return [
        *lines,
        _cut(Text(KEYS if width >= len(KEYS) else "h s c w p a views  j k scroll  q quit", style="dim"), width),
    ]


def frame(picture: Picture, width: int) -> list[Text]:
    """The view `home` with all of its rows, for a pipe."""
    rows = max(len(picture.sources), 1) + max(len(picture.reasons), 1) + max(len(picture.alerts), 1)
    return screen(picture, "home", width, FIXED + rows + 3)[:-1]


def _title(picture: Picture, width: int, trouble: str | None) -> Text:
    said, style = _verdict(picture)
    if trouble is not None:
        said, style = f"not of now: {trouble}", "bold red"
    return _cut(Text.assemble(("beat top", "bold"), " ", moment(picture.at), "  ", (said, style)), width)


def _verdict(picture: Picture) -> tuple[str, str]:
    if picture.led_at is None or picture.at - picture.led_at > UNLED:
        return "no scheduler leads: alerts are not up to date", "bold red"
    graver = [one for one in picture.alerts if one.severity != "info" and not one.silenced]
    if not graver:
        return "nothing is wrong", "green"
    more = f" (+{len(graver) - 1})" if graver[1:] else ""
    return f"{_short(graver[0].cause)}{more}", SEVERITY[graver[0].severity]


def _short(cause: str) -> str:
    """A cause up to its first detail."""
    return cause.partition(": ")[0].partition(". ")[0]


def _home(picture: Picture, width: int, height: int) -> list[Text]:
    wanted = [len(picture.sources) or 1, len(picture.reasons) or 1, len(picture.alerts) or 1]
    room = max(height - FIXED - 1, 3)
    sources, reasons, alerts = shared(room, wanted)
    blocks = [
        [_figures(picture, width), _rates(picture, width)],
        _table(_of_sources(picture, sources), width),
        _table(_of_reasons(picture, reasons), width),
        [_sinks(picture, width), _stores(picture, width), _kinds(picture, width)],
        _table(_of_alerts(picture, alerts), width),
    ]
    # Empty lines stand between the blocks where rows do not need them.
    gap = [Text()] if room - sum((sources, reasons, alerts)) >= len(blocks) - 1 else []
    return [line for block in blocks for line in (*block, *gap)]


def shared(room: int, wanted: Sequence[int]) -> list[int]:
    """How many rows each of some lists gets: none more than it wants, and what is left goes round."""
    given = [0] * len(wanted)
    while room > 0 and any(got < want for got, want in zip(given, wanted, strict=True)):
        for index, want in enumerate(wanted):
            if given[index] < want and room > 0:
                given[index] += 1
                room -= 1
    return given


def _count(picture: Picture, count: int) -> str:
    return f"{count:,}{'+' if count >= picture.counted else ''}"


def _ago(picture: Picture, at: datetime | None) -> str:
    return "" if at is None else lasting(picture.at - at)


def _in(picture: Picture, at: datetime | None) -> str:
    if at is None:
        return ""
    return "now" if at <= picture.at else f"in {lasting(at - picture.at)}"


def _figures(picture: Picture, width: int) -> Text:
    oldest = f", oldest {_ago(picture, picture.oldest)}" if picture.oldest else ""
    said = f"requests   {_count(picture, picture.requests)} in progress, {_count(picture, picture.waiting)} fetches wait{oldest}"
    failed = (f"{picture.failed_rate:,.0f} failed/min", "red") if picture.failed_rate else "0 failed/min"
    return _cut(Text.assemble(said, f"; {picture.complete_rate:,.0f} done/min, ", failed), width)


def _rates(picture: Picture, width: int) -> Text:
    flying = sum(one.in_flight for one in picture.sources)
    said = f"calls      {picture.call_rate:,.0f}/min, {flying:,} in flight; {picture.leased_rate:,.0f} leases/min, {picture.settled_rate:,.0f} outcomes/min"
    return _cut(Text(said), width)


def _of_sources(picture: Picture, most: int) -> list[Sequence[Text | str]]:
    rows: list[Sequence[Text | str]] = [
        ("source", ">calls/min", ">ok", ">limited", ">down", ">ready", ">out", ">dead", "breaker")
    ]
    rows += [
        (
            one.source,
            f"{one.rate:,.0f}",
            _share(one),
            _number(one.limited, "yellow"),
            _number(one.down, "red"),
            f"{one.ready:,}",
            _number(one.cooling + one.full, "yellow"),
            _number(one.dead, "red"),
            _breaker(picture, one),
        )
        for one in picture.sources[:most]
    ]
    return _or(rows, "no source has a credential, nor was one called")


def _share(one: SourceLine) -> str:
    return f"{one.ok / one.calls:.0%}" if one.calls else "-"


def _number(count: int, style: str) -> Text:
    return Text(f"{count:,}", style=style if count else "dim")


def _breaker(picture: Picture, one: SourceLine) -> Text:
    said = []
    if one.breakers:
        probe = " by hand" if one.by_hand else f", {_in(picture, one.probe_at).removeprefix('in ')}"
        said.append(f"{one.breakers} open{probe}")
    if one.data_breakers:
        said.append(f"{one.data_breakers} data")
    return Text("; ".join(said), style="red")


def _of_reasons(picture: Picture, most: int) -> list[Sequence[Text | str]]:
    rows: list[Sequence[Text | str]] = [(">fetches", ">groups", "first goes on", "waiting because")]
    rows += [
        (_count(picture, one.fetches), f"{one.lanes:,}", _in(picture, one.until), one.why)
        for one in picture.reasons[:most]
    ]
    return _or(rows, "nothing waits")


def _sinks(picture: Picture, width: int) -> Text:
    said = Text("events     ")
    if not picture.sinks:
        said.append("no sink", "dim")
    for place, one in enumerate(picture.sinks):
        trouble = f" {one.trouble}" if one.trouble else ""
        parked = f", {one.parked:,} parked" if one.parked else ""
        lag = f" {one.events:,} behind, {one.seconds:,.0f} s" if one.events else " up to date"
        said.append(f"{'; ' if place else ''}{one.name}{trouble}{lag}{parked}", "red" if trouble or one.parked else "")
    said.append(f"; webhooks {_count(picture, picture.webhooks)} pending")
    return _cut(said, width)


def _stores(picture: Picture, width: int) -> Text:
    oldest = f", oldest {_ago(picture, picture.oldest_asset)}" if picture.oldest_asset else ""
    said = Text(f"assets     {_count(picture, picture.assets)} wait{oldest}; quarantine ")
    return _cut(said.append(_count(picture, picture.quarantined), "yellow" if picture.quarantined else ""), width)


def _kinds(picture: Picture, width: int) -> Text:
    said = Text("processes  ")
    if not picture.kinds:
        said.append("none has reported within half a minute", "red")
    for place, one in enumerate(picture.kinds):
        trouble = f", {one.in_trouble} in trouble" if one.in_trouble else ""
        slow = one.statement_p99 >= 1.0
        said.append(
            f"{'; ' if place else ''}{one.processes} {one.name} (p99 {_ms(one.statement_p99)}{trouble})",
            "red" if trouble or slow else "",
        )
    return _cut(said, width)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _of_alerts(picture: Picture, most: int) -> list[Sequence[Text | str]]:
    rows: list[Sequence[Text | str]] = [("alert", "since", ">explains", "cause")]
    rows += [_alert(picture, one) for one in picture.alerts[:most]]
    return _or(rows, "no alert is open")


def _alert(picture: Picture, one: AlertLine) -> Sequence[Text | str]:
    return _severity(one), _ago(picture, one.opened_at), str(one.parts or ""), one.cause


def _severity(one: AlertLine) -> Text:
    return Text("silenced", style="dim") if one.silenced else Text(one.severity, style=SEVERITY[one.severity])


def _or(rows: list[Sequence[Text | str]], empty: str) -> list[Sequence[Text | str]]:
    return rows if rows[1:] else [rows[0], (Text(empty, style="dim"), *[""] * (len(rows[0]) - 1))]


def _list(picture: Picture, view: str, width: int, height: int, first: int) -> list[Text]:
    """A view that goes deeper: one list, which scrolls."""
    if view == "alerts":
        return _scrolled(view, len(picture.alerts), [], _alerts_in_full(picture, width), height, first)
    rows = LISTS[view](picture)
    head, *rest = _table(_or(rows, "none"), width)
    return _scrolled(view, len(rows) - 1, [head], rest, height, first)


def _scrolled(view: str, count: int, head: list[Text], lines: list[Text], height: int, first: int) -> list[Text]:
    room = max(height - 4 - len(head), 1)
    start = max(min(first, len(lines) - room), 0)
    title = Text(f"{view}: {count:,}", style="bold")
    if len(lines) > room:
        title.append(f", lines {start + 1} to {start + room} of {len(lines)}", "dim")
    return [title, Text(), *head, *lines[start : start + room]]


def _alerts_in_full(picture: Picture, width: int) -> list[Text]:
    """Each alert on as many lines as it needs."""
    lines = []
    for one in picture.alerts:
        more = f", explains {one.parts} more" if one.parts else ""
        lines.append(
            _cut(Text.assemble(_severity(one), f" {one.key} since {_ago(picture, one.opened_at)}{more}"), width)
        )
        lines += [Text(f"  {line}") for line in textwrap.wrap(printable(one.cause), max(width - 2, 20))]
    return lines or [Text("no alert is open", style="dim")]


def _list_sources(picture: Picture) -> list[Sequence[Text | str]]:
    rows: list[Sequence[Text | str]] = [
        ("source", ">calls/min", ">ok", ">limited", ">down", ">other", ">median", ">in flight", "breaker")
    ]
    for one in picture.sources:
        other = one.calls - one.ok - one.limited - one.down
        median = "" if one.ms is None else f"{one.ms:,.0f} ms"
        rows.append(
            (
                one.source, f"{one.rate:,.0f}", _share(one), _number(one.limited, "yellow"), _number(one.down, "red"),
                f"{other:,}", median, f"{one.in_flight:,}", _breaker(picture, one),
            )
        )  # fmt: skip
    return rows


def _list_credentials(picture: Picture) -> list[Sequence[Text | str]]:
    rows: list[Sequence[Text | str]] = [
        ("source", ">ready", ">used up", ">cooling", ">disabled", ">dead", "next is usable")
    ]
    rows += [
        (
            one.source, f"{one.ready:,}", _number(one.full, "yellow"), _number(one.cooling, "yellow"), f"{one.disabled:,}",
            _number(one.dead, "red"), _in(picture, one.next_at),
        )
        for one in picture.sources
    ]  # fmt: skip
    return rows


def _list_waiting(picture: Picture) -> list[Sequence[Text | str]]:
    rows: list[Sequence[Text | str]] = [
        ("flow", ">prio", ">fetches", ">oldest", ">request", "goes on", "waiting because")
    ]
    for one in picture.lanes:
        flow = f"{one.platform} {one.flow or one.operation}{f' of {one.owner}' if one.owner else ''}"
        rows.append(
            (
                flow, str(one.priority), _count(picture, one.fetches) if one.fetches else "?", _ago(picture, one.oldest), str(one.request_id),
                _in(picture, one.until), one.why or "ready for the next dispatch cycle",
            )
        )  # fmt: skip
    return rows


def _list_processes(picture: Picture) -> list[Sequence[Text | str]]:
    rows: list[Sequence[Text | str]] = [
        ("process", "where", ">up", ">statements", ">p99", ">pool", ">claim p50", "version", "cannot")
    ]
    rows += [_process(picture, one) for one in picture.processes]
    return rows


def _process(picture: Picture, one: ProcessLine) -> Sequence[Text | str]:
    return (
        one.name, f"{one.host}:{one.pid}", _ago(picture, one.started_at), f"{one.statements:,}", _ms(one.statement_p99),
        f"{one.pool_used}/{one.pool_most}", _ms(one.claim_p50) if one.claims else "", one.version or "", Text(", ".join(one.troubles), style="red"),
    )  # fmt: skip


LISTS = {
    "sources": _list_sources,
    "credentials": _list_credentials,
    "waiting": _list_waiting,
    "processes": _list_processes,
}


def _table(rows: Sequence[Sequence[Text | str]], width: int) -> list[Text]:
    """Rows below a line of names, cut to the width. A name that begins with `>` is of a column whose cells stand to the right."""
    right = [isinstance(cell, str) and cell.startswith(">") for cell in rows[0]]
    head = [Text(str(cell).removeprefix(">"), style="dim") for cell in rows[0]]
    cells = [head, *([cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows[1:])]
    widths = [max(row[index].cell_len for row in cells) for index in range(len(right))]
    lines = []
    for row in cells:
        line = Text()
        for index, cell in enumerate(row):
            gap = " " * (widths[index] - cell.cell_len)
            line.append(gap if right[index] else "").append_text(cell).append("" if right[index] else gap).append("  ")
        line.rstrip()
        lines.append(_cut(line, width))
    return lines


def _cut(text: Text, width: int) -> Text:
    """The words that fit; a part of a number or of a name would be another one."""
    if text.cell_len <= width:
        return text
    cut = text.copy()
    cut.truncate(width - 1)
    words = cut.plain if text.plain[len(cut.plain)] == " " else cut.plain.rpartition(" ")[0]
    return Text.assemble(cut[: len(words.rstrip())] if words.strip() else cut, "…")
