"""What may be kept of a provider's words: whatever way a secret is spelt in them, they are dropped; what holds none is kept as it is."""

import json
import random
import string
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beat_actors.redaction import HIDDEN, WITHHELD, Redactor
from tests.conftest import FIXTURES
from tests.extent import cases
from tests.spellings import SPELLINGS

KEYS = {
    "letters": "8f3ba4C1d2mshXa7be1f0c3d4e5fp1A2b3cjsn4d5e6f70Z192",
    "signs": "1//0gCNRZq/x+Yb=kT-9_aPqLw7/=+VnE4Rs.tU|vWx",
    "dashes": "Kx9-vQ_xT3kLmN0pRs7u-WyZ1aBcDeFgHiJ_4q",
}
secrets = st.text(string.ascii_letters + string.digits + "/+=_-.|~%", min_size=24, max_size=80).filter(
    lambda text: len(set(text.lower())) >= 10
)
spellings = st.sampled_from(sorted(SPELLINGS))
around = st.text(max_size=30)
# In a body those are not undone that put something between the escaped characters, and those of them that are divided by letters.
WHOLE = SPELLINGS.keys() - {"base64 in lines"}


@pytest.mark.parametrize(("key", "spelling"), list(product(KEYS.values(), SPELLINGS)))
def test_words_that_spell_a_secret_are_dropped(key: str, spelling: str) -> None:
    said = f'{{"error": {{"message": "Invalid token {SPELLINGS[spelling](key)} given", "code": 190}}}}'
    assert Redactor([key]).words(said) == WITHHELD


@pytest.mark.parametrize("outer", SPELLINGS)
def test_a_spelling_inside_another_is_known(outer: str) -> None:
    redactors = [(key, Redactor([key])) for key in KEYS.values()]
    for (key, redactor), inner in product(redactors, SPELLINGS):
        assert redactor.holds(f"token={SPELLINGS[outer](SPELLINGS[inner](key))}"), (key, inner)


@pytest.mark.parametrize(("key", "spelling"), list(product(KEYS.values(), SPELLINGS)))
def test_a_body_is_kept_without_the_secret_or_not_at_all(key: str, spelling: str) -> None:
    body = f'{{"biography": "I am {SPELLINGS[spelling](key)}"}}'.encode()
    kept = Redactor([key]).body(body)
    assert kept is None or (HIDDEN.encode() in kept and key.encode() not in kept)


@pytest.mark.scaled
@given(secrets, spellings, spellings, around, around)
@settings(deadline=None, max_examples=cases(100, 1000))
def test_any_secret_is_known_in_any_two_spellings(secret: str, inner: str, outer: str, before: str, after: str) -> None:
    spelt = SPELLINGS[outer](SPELLINGS[inner](secret))
    assert Redactor([secret]).holds(f"{before} {spelt} {after}")


@pytest.mark.scaled
@given(secrets, st.data())
@settings(deadline=None, max_examples=cases(100, 1000))
def test_twelve_characters_in_a_row_are_enough(secret: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(secret) - 12))
    assert Redactor([secret]).holds(f"<{secret[at : at + 12]}>")


@pytest.mark.scaled
@given(secrets, st.sampled_from(sorted(WHOLE)), around)
@settings(deadline=None, max_examples=cases(100, 1000))
def test_a_body_is_masked_or_not_kept(secret: str, spelling: str, before: str) -> None:
    body = json.dumps({"text": before, "link": SPELLINGS[spelling](secret)}).encode()
    kept = Redactor([secret]).body(body)
    assert kept is None or kept != body


@pytest.mark.parametrize("key", KEYS.values())
def test_a_run_is_known_wherever_it_stands_in_a_body(key: str) -> None:
    redactor = Redactor([key])
    for before, at in product(range(16), range(len(key) - 11)):
        for piece in (key[at : at + 12], key[at : at + 12][::-1], key[at : at + 12].encode().hex(":")):
            assert redactor.body(f"{'w' * before} {piece} {'w' * 20}".encode()) is None, (before, piece)


@pytest.mark.parametrize(
    "form", ["%{:02x}", "%u00{:02x}", "\\u00{:02x}", "\\U00{:02X}", "\\x{:02x}", "&#{};", "&#x{:x}"]
)
def test_escaped_letters_are_known_in_a_body_of_a_secret_without_signs(form: str) -> None:
    key = KEYS["letters"]
    spelt = "".join(form.format(ord(c)) if at % 2 else c for at, c in enumerate(key))
    assert Redactor([key]).body(f'{{"biography": "I am {spelt}; and you?"}}'.encode()) is None


def test_a_long_body_of_numbers_is_no_attempt_to_cost_time() -> None:
    draw = random.Random(7)
    body = json.dumps([draw.randrange(10**18, 10**19) for _ in range(50_000)]).encode()
    assert Redactor([*KEYS.values(), "deadbeef0123456789abcdef01234567"]).body(body) is body


def test_what_the_provider_says_besides_is_kept() -> None:
    redactor = Redactor(KEYS.values())
    for said in (
        '{"error":{"message":"(#100) Invalid parameter: no such metric","type":"OAuthException","code":100}}',
        "You have exceeded the rate limit per second for your plan, BASIC, by the API provider",
        "Der Schlüssel ist ungültig",
        "",
    ):
        assert redactor.words(said) == said


def test_the_recordings_are_kept_as_they_are() -> None:
    redactor = Redactor(KEYS.values())
    recordings = [path.read_bytes() for path in FIXTURES.rglob("*.json")]
    assert len(recordings) > 20
    assert all(redactor.body(body) is body for body in recordings)


def test_what_looks_like_a_credential_is_masked() -> None:
    said = Redactor([KEYS["letters"]]).words(
        "the token EAAGm0PX4ZCpsBA1xYz9 is over (trace 3f2504e0-4f89-11d3-9a0c-0305e82c3301)"
    )
    assert said == f"the token {HIDDEN} is over (trace {HIDDEN})"


def test_a_body_with_links_keeps_all_but_the_secret() -> None:
    key = KEYS["signs"]
    body = json.dumps({"next": f"https://graph.example/x?access_token={quote(key, safe='')}&after=abc", "name": "Ann"})
    kept = Redactor([key]).body(body.encode())
    assert kept is not None
    assert json.loads(kept) == {"next": "https://graph.example/x?access_token=***&after=abc", "name": "Ann"}


def test_words_that_are_everybodys_are_no_secret() -> None:
    redactor = Redactor(["1234567890-abcdefghij.apps.googleusercontent.com"], [".apps.googleusercontent.com"])
    assert not redactor.holds("https://yt3.googleusercontent.com/apps.googleusercontent.com")
    assert redactor.holds("client 1234567890-abcdefghij")


@pytest.mark.parametrize("fields", [(), ("",), ("short",)])
def test_what_is_no_secret_hides_nothing(fields: tuple[str, ...]) -> None:
    redactor = Redactor(fields)
    assert not redactor.holds("a short word")
    assert redactor.body(b"a short word") == b"a short word"


def test_a_secret_shorter_than_a_run_is_known_as_a_whole() -> None:
    redactor = Redactor(["hunter-22"])
    assert redactor.holds("the password hunter-22 is wrong")
    assert redactor.holds("the password hunter%2D22 is wrong")


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("403/quotaExceeded", "403/quotaExceeded"),
        ("400/24/2207024", "400/24/2207024"),
        ("400/17841400000000001", "400"),
        ("400/<script>", "400"),
        (f"400/{KEYS['letters']}", "400"),
        ("400/Invalid id: creator.one, creator.two", "400"),
        ("429/RATE_LIMIT_2", "429/RATE_LIMIT_2"),
        ("$.data[0].user", "$.data[0].user"),
        ("data access", "data access"),
        ("400/123456789", "400/123456789"),
        ("400/1234567890", "400"),
        (f"400/{'name ' * 12}", f"400/{'name ' * 12}"),
        (f"400/{'name ' * 12}s", "400"),
    ],
)
def test_of_a_code_the_short_names_and_numbers_are_kept(label: str, kept: str) -> None:
    assert Redactor([KEYS["letters"]]).code(label) == kept
