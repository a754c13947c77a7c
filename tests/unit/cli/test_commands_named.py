"""Every command that a text names can be typed: the docs, and what alerts, errors, findings and help say."""

import contextlib
import re
from typing import Any

import msgspec
import pytest
from cyclopts import App

from api.app import create_app
from beat_actors.cli.app import COMMANDS, app
from beat_actors.cli.up import REAL_TIPS, TIPS
from beat_actors.platforms.registry import platform
from beat_actors.platforms.youtube.simulator.ids import channel_of
from beat_actors.simulator.config import SimulatorConfig
from beat_actors.simulator.population import Population
from tests.commands import ROOT, Named, calls, in_docs, in_product, read_call, without_quotes


def parsed(words: list[str]) -> None:
    """Raises `CycloptsError` for what the command line does not take."""
    if words[-1:] not in (["--help"], ["--version"], ["--install-completion"]):
        app.parse_args([word for word in words if word != "--debug"], exit_on_error=False, print_error=False)


def command_of(words: list[str]) -> App:
    """The command that these words name. Raises `KeyError`."""
    found = app
    for word in words:
        found = found[word]
    return found


def named() -> set[Named]:
    return {*in_docs(), *in_product()}


@pytest.mark.parametrize("command", sorted(named()), ids=lambda one: f"{one.where}: {one.text}")
def test_a_command_that_is_printed_or_documented_can_be_typed(command: Named) -> None:
    if not command.whole and command.is_name:
        with contextlib.suppress(KeyError):
            command_of(command.text.split()[1:])
            return
    parsed(command.words)


def test_a_command_in_a_text_stands_in_backticks() -> None:
    assert list(without_quotes()) == []


@pytest.mark.parametrize(
    "text", ["beat simulator status", "beat quarantine resolve", "beat credentials enable 3", "beat alerts silence 1"]
)
def test_a_command_that_cannot_be_typed_is_found(text: str) -> None:
    with pytest.raises(Exception, match=r"(?i)unknown|requires|unused"):
        parsed(Named("here", text, whole=True).words)


def test_the_walk_finds_what_it_looks_for() -> None:
    found = {command.text for command in named()}
    assert {"beat db processes", "beat why {row.request_id}", "beat credentials add SOURCE"} <= found
    assert len(found) > 80


def test_no_alert_sends_anybody_to_the_simulator_or_to_sql() -> None:
    """Production has no simulator, and an operator has no SQL at hand. What ends another's transaction is for an administrator."""
    rules = [*(ROOT / "beat_actors/watch").glob("*.py"), *(ROOT / "beat_actors").rglob("*alerts.py")]
    assert len(rules) > 8
    for path in rules:
        assert "simulator" not in path.read_text(), path
        assert not re.search(r"action=.*SELECT (?!pg_terminate_backend)", path.read_text()), path


@pytest.mark.parametrize("tip", [*TIPS, *REAL_TIPS], ids=lambda tip: tip[0])
def test_a_command_that_beat_up_ends_with_can_be_typed(tip: tuple[str, str]) -> None:
    parsed(tip[0].split())


def test_the_outage_that_beat_up_proposes_is_one_of_the_source_that_is_asked_first() -> None:
    """So that the next scrape shows that another source answers."""
    (fault,) = [command for command, _ in TIPS if command.startswith("simulator fault outage")]
    instagram = platform("instagram")
    flow = next(iter(instagram.flows.values()))
    first = flow.first(msgspec.convert({"handle": "creator_000007"}, flow.params))
    assert fault.split()[3] == instagram.chains[first.operation][0]


DOCUMENTED = list(calls())
MISTAKEN = "no such handle"
"""A subject that docs/api.md gives on purpose, to show how it is refused."""


def test_the_docs_have_calls_of_the_api() -> None:
    assert {where for where, _ in DOCUMENTED} >= {"README.md", "docs/api.md", "docs/webhooks.md", "docs/security.md"}


@pytest.mark.parametrize("call", DOCUMENTED, ids=[f"{where} {i}" for i, (where, _) in enumerate(DOCUMENTED)])
def test_a_call_that_is_documented_has_a_route_and_asks_for_what_the_simulator_has(call: tuple[str, list[str]]) -> None:
    where, words = call
    method, path, body = read_call(words)
    application = create_app(lambda: pytest.fail("nothing is opened"))
    found = application._router.find(path.partition("?")[0])
    assert found is not None, f"{where}: there is no route {path}"
    assert method in found[0].scopes, f"{where}: {method} {path}"
    if path.partition("?")[0] == "/v1/scrape-requests" and body is not None:
        for one in body.get("requests", [body]):
            if MISTAKEN not in one["params"].values():
                params = msgspec.convert(one["params"], platform(one["platform"]).flow(one["flow"]).params)
                assert exists(one["platform"], msgspec.to_builtins(params)), f"{where}: {one}"


@pytest.mark.parametrize("command", sorted(one for one in named() if one.text.startswith("beat scrape ")), ids=str)
def test_a_profile_that_is_documented_is_one_of_the_simulator(command: Named) -> None:
    for word in command.words[2:]:
        if not word.startswith("-") and not word.isdigit():
            assert exists("any", {"handle": word}), command


def exists(platform_name: str, params: dict[str, Any]) -> bool:
    """Whether the simulator of `beat up` knows whom this is about."""
    people = Population(1000, SimulatorConfig().seed)
    if "handle" in params:
        return people.by_handle(params["handle"]) is not None
    if "store" in params:
        return bool(re.fullmatch(r"store-\d{6}\.myshopify\.com", params["store"]))
    find = {"instagram": people.by_pk, "youtube": lambda one: channel_of(people, one)}[platform_name]
    return find(params["profile_id"]) is not None


def test_every_command_is_listed_in_the_help() -> None:
    assert len({name for name, _, _ in COMMANDS}) == len(COMMANDS)
