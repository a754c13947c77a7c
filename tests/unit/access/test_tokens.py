"""Tokens: told from text that only looks like one, and never shown by accident."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from beat_actors.access.tokens import CHECKSUM, DIGITS, mint, parse


def test_a_minted_token_is_read_back_and_its_digest_is_that_of_the_whole() -> None:
    minted = mint()
    token = parse(minted.text)
    assert token == minted.token
    assert token.digest == hashlib.sha256(minted.text.encode()).digest()
    assert re.fullmatch(r"beat_[A-Za-z][0-9A-Za-z]{7}_[0-9A-Za-z]{49}", minted.text)


def test_neither_the_secret_nor_its_digest_shows() -> None:
    minted = mint()
    secret = minted.text.rpartition("_")[2]
    shown = f"{minted} {minted!r} {minted.token}"
    assert secret not in shown
    assert minted.token.digest.hex() not in shown
    assert repr(minted.token.digest) not in shown


def test_no_two_are_alike() -> None:
    minted = [mint() for _ in range(500)]
    assert len({one.text for one in minted}) == len({one.token.prefix for one in minted}) == 500


@given(st.data())
def test_one_wrong_character_is_seen_without_asking_anybody(data: st.DataObject) -> None:
    text = mint().text
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([digit for digit in DIGITS if digit != text[at]]))
    assert parse(text[:at] + other + text[at + 1 :]) is None


@given(st.text())
def test_any_text_is_refused_and_none_is_an_error(text: str) -> None:
    assert parse(text) is None
    assert parse(f"beat_{text}") is None


def test_what_is_cut_off_or_has_more_is_not_a_token() -> None:
    text = mint().text
    assert [parse(other) for other in (text[:-1], text[:-CHECKSUM], f"{text}\n", f" {text}", text.upper(), "")] == [
        None
    ] * 6
