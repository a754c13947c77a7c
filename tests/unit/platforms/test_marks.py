"""The table of combining marks, against the Unicode that this Python knows, which may be older than the table's."""

import unicodedata

from beat_actors.platforms.marks import MARKS

MARK, UNASSIGNED = frozenset({"Mn", "Mc"}), "Cn"
KNOWN = frozenset(char for char in map(chr, range(0x2_0000)) if unicodedata.category(char) in MARK)


def test_every_mark_that_python_knows_is_in_the_table() -> None:
    assert KNOWN - set(MARKS) == set()


def test_the_table_has_marks_alone_and_each_once() -> None:
    assert {unicodedata.category(char) for char in MARKS} <= {*MARK, UNASSIGNED}
    assert len(set(MARKS)) == len(MARKS)
