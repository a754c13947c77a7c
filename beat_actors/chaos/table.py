"""The matrix as a Markdown table: a row for each fault, made of its runs; rows of faults that were not run stay as they are."""

import re
from collections.abc import Sequence

from beat_actors.chaos.report import Report, seconds

HEAD = (
    "| fault | seeds | broken | requests | lost | dup | over-issued | not ended | extra calls | zombies rejected | "
    "worst ttr (s) | worst drain (s) |"
)
COLUMNS = HEAD.count("|") - 1
ROW = re.compile(r"^\| `(?P<fault>[^`]+)` \|.*$", re.MULTILINE)
SEEDS, BROKEN, REQUESTS, LOST, DUP, NOT_ENDED = 1, 2, 3, 4, 5, 7
"""Columns of a row that the sentence below the table adds up."""
RULE_OF_THREE = 3.0


def matrix_table(reports: Sequence[Report], *, faults: Sequence[str], before: str = "") -> str:
    """The table in the order of `faults`, and a sentence with the upper bound that so many clean requests allow.

    `before`: the table as it stands, whose rows are kept for the faults without a report. A row counts what must not be over all of its
    seeds, and has the most extra calls and the longest times of any of them.
    """
    kept = {found["fault"]: found[0] for found in ROW.finditer(before)}
    own: dict[str, list[Report]] = {}
    for report in reports:
        own.setdefault(report.fault, []).append(report)
    rows = [_row(own[fault]) if fault in own else kept[fault] for fault in faults if fault in own or fault in kept]
    return "\n".join([HEAD, "|---" * COLUMNS + "|", *rows, "", _sum_of(rows)])


def _row(reports: Sequence[Report]) -> str:
    ran = [report for report in reports if not report.skipped]
    if not ran:
        return f"| `{reports[0].fault}` | skipped: {reports[0].skipped} |" + " |" * (COLUMNS - 2)
    found = [report.findings for report in ran]
    ttr = max((report.ttr_s for report in ran if report.ttr_s is not None), default=None)
    cells = (
        f"`{ran[0].fault}`",
        len(ran),
        sum(bool(report.broken) for report in ran),
        sum(one.accepted for one in found),
        sum(one.lost for one in found),
        sum(one.dup for one in found),
        sum(one.over_issued for one in found),
        sum(one.nonterminal for one in found),
        max(one.extra_calls for one in found),
        sum(report.zombie_rejected for report in ran),
        seconds(ttr),
        seconds(max(report.drain_s for report in ran)),
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _sum_of(rows: Sequence[str]) -> str:
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    ran = [row for row in cells if row[SEEDS].isdecimal()]
    total = {column: sum(int(row[column]) for row in ran) for column in (SEEDS, BROKEN, REQUESTS, LOST, DUP, NOT_ENDED)}
    accepted, bad = total[REQUESTS], total[LOST] + total[DUP] + total[NOT_ENDED]
    said = f"{total[SEEDS]} runs, {accepted:,} requests accepted, {bad} lost, doubled or unfinished."
    if accepted and not bad:
        said += f" By the rule of three, fewer than {RULE_OF_THREE / accepted:.4%} are, with 95 % confidence."
    if total[BROKEN]:
        said += f" {total[BROKEN]} runs broke a promise."
    return said
