"""docs/security.md says the numbers, names and secrets that the code and docker-compose.yml have."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from api import body, data, room, waiting
from api.__main__ import BACKLOG, HEAD_BYTES, IDLE_MS, MAX_CONNECTIONS, RESERVED_FILES
from api.app import create_app
from api.room import MIB
from api.services import Provider
from api.submissions import AT_A_TIME, MAX_ITEMS
from api.untaken import UNTAKEN_MS
from beat_actors import redaction
from beat_actors.access import keyring, keys
from beat_actors.access.scopes import CONTAINS, Scope
from beat_actors.access.tokens import mint
from beat_actors.media import conversion, jpeg, picture, png, video
from beat_actors.requests import open_requests
from beat_actors.settings import Settings
from tests.images import ROOT
from tests.unit.repository.test_compose import CALLS_OUT, MESSAGES, REDIS, S3, SECRETS, TEXT, VAULT

PAGE = (ROOT / "docs" / "security.md").read_text()
KNOWN = data.routes(Provider(lambda: pytest.fail("not opened")))
"""What the platforms declare."""
WORDS = " ".join(PAGE.split())
CI = (ROOT / ".ci" / "run").read_text()


def default(name: str) -> Any:
    return Settings.model_fields[name].default


@pytest.mark.parametrize(
    "said",
    [
        f"`--rate` calls a minute ({keys.RATE_LIMIT:,})",
        f"A process remembers a key for {keyring.FRESH:g} s",
        f"A revocation takes effect within {keyring.FRESH:g} s",
        f"at most `BEAT_OPEN_REQUESTS` requests open (not ended), {default('open_requests'):,} by default",
        f"counts a tenant's open requests at most every {open_requests.INTERVAL:g} s",
        f"open connections | {MAX_CONNECTIONS:,}, and fewer where the system allows fewer than {MAX_CONNECTIONS + RESERVED_FILES:,} open files",
        f"wait in the backlog of {BACKLOG:,}",
        f"the time between two calls | {IDLE_MS / 1000:g} s | closed",
        f"an answer that the caller does not read (on Linux) | {UNTAKEN_MS / 1000:g} s | closed",
        f"first line and headers | {HEAD_BYTES >> 10} KiB",
        f"of one key, of all | {waiting.MAX_WAITS_OF_KEY}, {waiting.MAX_WAITS:,} |",
        f"a `Retry-After` of {waiting.COME_BACK[0]} to {waiting.COME_BACK[1]} s",
        f"reads of requests and batches for the waits of one key | {waiting.LOOKS_OF_KEY} at a time | the others wait for them, {waiting.LOOK_WITHIN:g} s at most",
        f"wait to be decoded | {room.MAX_BODIES}, and {room.MAX_BYTES_OF_KEY // MIB} MiB together",
        f"such bodies of all keys | {room.MAX_BYTES_OF_ALL // MIB} MiB; beyond that each key may have one",
        f"as the work took, {'a second' if room.MAX_PAUSE == 1 else room.MAX_PAUSE} at most",
        f"body | {body.MAX_BYTES >> 10} KiB, of a list of requests {body.MAX_LIST_BYTES // MIB} MiB",
        f"time of a body | {body.MAX_SECONDS:g} s",
        f"of each process | {room.MAX_BODIES}, and {room.MAX_BYTES_OF_KEY // MIB} MiB together | 429",
        f"values in a body | {body.MAX_VALUES:,} |",
        f"nesting | {body.MAX_DEPTH} levels |",
        f"text | {body.MAX_TEXT:,} characters",
        f"requests in one call | {MAX_ITEMS:,} |",
        f"a body of more than {body.INLINE_BYTES >> 10} KiB is decoded in a thread",
        f"a list of more than {AT_A_TIME} requests is checked in slices",
        f"bytes of a picture | {picture.LIMITS.octets // 10**6} MB |",
        f"pixels | {picture.LIMITS.pixels // 10**6} million, and {picture.LIMITS.side:,} a side",
        f"frames of an animation | {picture.LIMITS.frames:,}, and {picture.LIMITS.frame_pixels // 10**6:,} million pixels together",
        f"({jpeg.SEGMENTS:,} in a JPEG)",
        f"colour profile | {png.PROFILE_OCTETS // MIB} MiB, decompressed",
        f"a video | {video.LIMITS.octets // 10**6} MB, {video.LIMITS.pixels / 1e6:.1f} million pixels, {video.LIMITS.seconds / 3600:g} hours",
        f"{({2: 'two'})[conversion.PROCESSES]} per process that needs them",
        f"Each has {conversion.MEMORY >> 30} GiB of address space, {conversion.CPU} s of CPU time for a picture",
        f"A field with fewer than {({8: 'eight'})[redaction.SHORTEST]} characters is no secret",
        f"where {({12: 'twelve'})[redaction.RUN]} characters of it stand in a row",
        f"{({0.5: 'half'})[default('on_demand_share')]} of it; an account is told",
        f"`BEAT_ENVIRONMENT` is `{default('environment')}` unless it is set",
    ],
)
def test_the_page_has_the_numbers_of_the_code(said: str) -> None:
    assert said in WORDS


def test_a_new_key_has_the_form_that_scanners_look_for() -> None:
    form = re.search(r"`(beat_\[[^`]+)`", PAGE)
    assert form is not None
    assert all(re.fullmatch(form[1], mint().text) for _ in range(50))


def test_the_page_has_every_scope_and_what_it_contains() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)*) ?\|", PAGE, re.MULTILINE))
    assert {name: set(re.findall(r"\w+", contains)) for name, contains in rows.items() if name in set(Scope)} == {
        scope: set(contained - {scope}) for scope, contained in CONTAINS.items()
    }


def opened(scope: Scope) -> str:
    """What the page says that a scope opens."""
    found = re.search(rf"^\| `{scope}` \|[^|]*\|(.*)\|$", PAGE, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("scope", [Scope.SUBMIT, Scope.READ, Scope.OPERATE, Scope.ADMIN])
def test_the_page_names_what_each_scope_opens(scope: Scope) -> None:
    app = create_app(lambda: pytest.fail("not started"))
    nouns = {
        path.split("/")[2]
        for path, resource in app.resources.items()
        if scope in resource.scopes.values() and not path.startswith(tuple(KNOWN))
    }
    assert sorted(noun for noun in nouns if noun.removeprefix("scrape-") not in opened(scope)) == []


def test_the_compose_file_lists_the_passwords_that_it_needs_and_not_those_that_are_gone() -> None:
    top = TEXT.partition("\nservices:")[0]
    assert sorted(name for name in set().union(*SECRETS.values()) if name not in top) == []
    for gone in ("BEAT_REDIS_PASSWORD", "BEAT_AMQP_PASSWORD"):
        assert gone in PAGE
        assert gone not in TEXT


def secrets_of(service: str) -> tuple[bool, bool, str, bool, bool]:
    """As the table has them: the vault's keys, the messages' keys, the user of Redis, S3, a way out."""
    held = SECRETS[service]
    users = [role for role, password in REDIS.items() if password in held]
    return VAULT in held, MESSAGES in held, "".join(users), S3 in held, service in CALLS_OUT


@pytest.mark.parametrize(
    ("row", "services"),
    [
        ("API", ["api"]),
        ("worker of `credential_broker`", ["worker-credential-broker"]),
        ("worker of `retrieve`, `credentials`", ["worker-retrieve"]),
        ("workers of `ingest`, `suspects`, `process`", ["worker-ingest", "worker-process"]),
        ("worker of `assets`", ["worker-assets"]),
        ("scheduler", ["scheduler"]),
        ("deliverer of webhooks", ["deliverer"]),
        ("`bucket`, which makes the bucket once", ["bucket"]),
        ("`roles`, `migrate`", ["roles", "migrate"]),
        ("the command line `beat`", ["beat"]),
    ],
)
def test_the_table_of_secrets_is_that_of_the_compose_file(row: str, services: list[str]) -> None:
    found = re.search(rf"^\| {re.escape(row)} \|(.*)\|$", PAGE, re.MULTILINE)
    assert found is not None
    vault, messages, redis, s3, out = (cell.strip() for cell in found[1].split("|"))
    told = (vault.startswith("yes"), messages == "yes", redis.strip("`"), s3 == "yes", out == "yes")
    assert [told] * len(services) == [secrets_of(service) for service in services]


def directive(name: str) -> str:
    found = re.search(rf"\b{name} ([^;]+);", PAGE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("keepalive_timeout", lambda value: int(value.removesuffix("s")) * 1000 < IDLE_MS),
        ("client_max_body_size", lambda value: int(value.removesuffix("m")) * MIB >= body.MAX_LIST_BYTES),
        ("proxy_read_timeout", lambda value: int(value.removesuffix("s")) > waiting.LONGEST + body.MAX_SECONDS),
        ("proxy_http_version", lambda value: value == "1.1"),
        ("client_body_timeout", lambda value: int(value.removesuffix("s")) <= body.MAX_SECONDS),
        ("client_header_timeout", lambda value: int(value.removesuffix("s")) * 1000 <= IDLE_MS),
    ],
)
def test_the_proxy_of_the_example_fits_the_bounds_of_the_door(name: str, fits: Callable[[str], bool]) -> None:
    assert fits(directive(name))


def test_continuous_integration_runs_what_the_page_says() -> None:
    assert "check make audit" in CI
    assert re.search(r'if \[ -n "\$\{BEAT_RELEASE:-\}" \]; then\n[^\n]*\n *check make images', CI)
    assert "exhaustive or scaled or slow" in CI
    for server, tested in {
        "REDIS": "tests/integration/actors",
        "PGBOUNCER": "tests/integration/database",
        "NGINX": "tests/integration/api/test_behind_nginx.py",
    }.items():
        assert re.search(rf"export BEAT_TEST_{server}\n[^\n]*tests test[^\n]*{tested}", CI), server


def test_the_image_has_the_production_wheel_alone() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ." in dockerfile
    assert "rehearsal" not in dockerfile
    assert "COPY . " not in dockerfile.rpartition("FROM ")[2]
    assert "beat-actors-rehearsal" not in (ROOT / "requirements.image.lock").read_text()
