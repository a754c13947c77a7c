"""What is replaced in an answer, and what stays."""

from typing import Any

from beat_actors.snapshots.anonymising import Anonymiser, words_of_source

KEPT = words_of_source("beat_actors.platforms.instagram")
ANONYMISER = Anonymiser(b"key", KEPT)


def test_words_and_ids_are_replaced_alike_everywhere_and_keep_their_form() -> None:
    body = {
        "pk": 4711471147,
        "username": "Ada_Lovelace.1815",
        "biography": "Ada, ada ADA: write to ada@example.com",
        "url": "https://cdn.example.com/u/4711471147/ada.jpg?x=1",
        "edge_followed_by": {"count": 12_345_678},
        "taken_at": 1_700_000_000,
        "followers": "12.3K",
        "at": "2030-01-31T12:00:00Z",
    }
    found: Any = ANONYMISER.value(body)
    text = str(found)
    assert not any(word in text.lower() for word in ("lovelace", "ada", "4711471147", "write"))
    assert len(str(found["pk"])) == 10
    assert f"/{found['pk']}/" in found["url"]
    assert found["url"].startswith("https://")
    first, second, third = (word.strip(",:") for word in found["biography"].split()[:3])
    assert first.lower() == second == third.lower()
    assert (first[0].isupper(), third.isupper()) == (True, True)
    assert found["username"].lower().startswith(second)
    assert (found["edge_followed_by"], found["taken_at"], found["followers"], found["at"]) == (
        {"count": 12_345_678},
        1_700_000_000,
        "12.3K",
        "2030-01-31T12:00:00Z",
    )


def test_another_key_replaces_otherwise() -> None:
    assert Anonymiser(b"other", KEPT).text("Lovelace") != ANONYMISER.text("Lovelace")


def test_values_that_a_parser_compares_with_stay() -> None:
    assert ANONYMISER.value({"__typename": "GraphImage", "media_type": "CAROUSEL_ALBUM"}) == {
        "__typename": "GraphImage",
        "media_type": "CAROUSEL_ALBUM",
    }
