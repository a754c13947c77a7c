"""What of an answer is kept: the fields of a shape, or all but some, and nothing that a parser would not have read otherwise."""

import json
from pathlib import Path

import msgspec
import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram.payloads import WITHOUT_CONTACTS
from beat_actors.platforms.keeping import only, without
from beat_actors.platforms.reading import decoder
from beat_actors.platforms.registry import platforms
from tests.conftest import FIXTURES


class Item(msgspec.Struct):
    id: int | str
    name: str | None = None


class Page(msgspec.Struct):
    items: list[Item]
    owner: Item | None = None


CANARY = "ada@example.com"


def kept(value: object) -> object:
    return json.loads(only(Page)(json.dumps(value).encode()))


def test_the_fields_of_the_shape_are_kept_at_every_depth() -> None:
    whole = {
        "items": [{"id": 1, "name": "a", "email": CANARY}],
        "owner": {"id": "2", "at": {"home": CANARY}},
        "note": CANARY,
    }
    assert kept(whole) == {"items": [{"id": 1, "name": "a"}], "owner": {"id": "2"}}


@pytest.mark.parametrize(
    "drifted",
    [
        {"items": [{"id": {"email": CANARY}}]},
        {"items": [{"id": [CANARY]}]},
        {"items": [CANARY]},
        {"items": {"email": CANARY}},
        {"items": [], "owner": CANARY},
        [CANARY],
        CANARY,
    ],
)
def test_what_has_another_type_says_so_and_is_not_kept(drifted: object) -> None:
    body = only(Page)(json.dumps(drifted).encode())
    assert CANARY.encode() not in body
    with pytest.raises(Malformed) as whole:
        decoder(Page)(json.dumps(drifted).encode())
    with pytest.raises(Malformed) as cut:
        decoder(Page)(body)
    assert (cut.value.path, str(cut.value)) == (whole.value.path, str(whole.value))


@pytest.mark.parametrize(
    "broken", [f"<p>{CANARY}", f'{{"email": "{CANARY}', "[" * 100_000, "\xff", '{"items": "\\ud800"}']
)
def test_of_what_is_no_json_nothing_is_kept(broken: str) -> None:
    assert only(Page)(broken.encode("latin-1")) == b""


def test_without_blanks_texts_and_numbers_and_nothing_else() -> None:
    keep = without("email", "zip")
    body = rb'{"email": "a\"b\\", "zip":-1.5e3,"text":"\"email\": \"x\"", "emails": "y", "email" : null, "zip": {"email":"z"}}'
    assert json.loads(keep(body), object_pairs_hook=list) == [
        ("email", None),
        ("zip", None),
        ("text", '"email": "x"'),
        ("emails", "y"),
        ("email", None),
        ("zip", [("email", None)]),
    ]


def recordings() -> list[Path]:
    return sorted((FIXTURES / "instagram").rglob("*.json"))


@pytest.mark.parametrize("path", recordings(), ids=lambda path: path.name)
def test_a_recording_without_contacts_is_the_same_json_otherwise(path: Path) -> None:
    def blanked(value: object) -> object:
        if isinstance(value, list):
            return [blanked(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {name: None if _is_contact(name, each) else blanked(each) for name, each in value.items()}

    try:
        whole = json.loads(path.read_bytes())
    except ValueError:
        pytest.skip("no JSON")
    assert json.loads(WITHOUT_CONTACTS(path.read_bytes())) == blanked(whole)


def _is_contact(name: str, value: object) -> bool:
    named = ("email", "phone_number", "address_json", "address_street")
    return (name.endswith(named) or name in ("zip", "latitude", "longitude")) and isinstance(value, str | int | float)


def test_every_endpoint_of_a_store_says_what_it_keeps() -> None:
    for source in platforms()["shopify"].sources.values():
        assert all(endpoint.keeps is not None for endpoint in source.endpoints.values())
