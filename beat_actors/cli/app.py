"""The commands, gathered, and what happens when one does not succeed.

A command's module is imported when it is run, so that `--help`, `--version` and completion answer at once.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

from cyclopts import App, CycloptsError

from beat_actors.cli.installing import WHERE_SIMULATOR
from beat_actors.cli.output import BAD_INPUT, INTERRUPTED, tell

EPILOGUE = (
    "Commands speak to the stack that the BEAT_* variables name, else to the one that `beat up` runs in this folder; requests, "
    "why, retry, cancel and scrape to the API at BEAT_API_URL or --url, with BEAT_API_KEY, where one is named. "
    "Exit codes: 0 done, 1 failed, 2 bad input, 3 a dependency is away, 4 not found, 5 not done in time. "
    "With --debug, an error shows its traceback."
)
COMMANDS = (
    (
        "up",
        "up:up",
        "Start everything on this machine: with a rehearsal on simulated providers, or --real; then keep serving.",
    ),
    ("scrape", "scrape:scrape", "Refresh profiles now, wait for them, and show what came."),
    ("requests", "requests:requests", "List requests, newest first, or show one."),
    ("why", "requests:why", "Say why a request is not done, and when it can be."),
    ("retry", "requests:retry", "Run again what failed: one request, or all that match."),
    ("cancel", "requests:cancel", "End requests that are not wanted any more."),
    (
        "stuck",
        "maintenance:stuck",
        "Requests that take long, and what holds each up; take it away from whoever holds it.",
    ),
    (
        "credentials",
        "credentials:app",
        "Provider credentials: add, list, show, replace, enable, disable, reset, share, unshare, rotate-keys.",
    ),
    (
        "connect",
        "connect:connect",
        "Add a credential of a provider, step by step: log in or paste a key, check it, see scopes and limits.",
    ),
    ("try", "trial:try_", "Make one call to a provider, and show the request, the answer and what is read of it."),
    ("accounts", "accounts:app", "Accounts and the owners that each may use: grants, grant, revoke."),
    ("sources", "operations:sources", "Sources and their breakers: who is out, and hands to open and close."),
    (
        "flows",
        "operations:flows",
        "Flows: how many of their calls may be out at once; hands to change that, to pause and resume.",
    ),
    ("alerts", "operations:alerts", "What somebody should know, and the one safe thing to do."),
    ("quarantine", "quarantine:app", "List quarantined payloads, grouped by error; show, replay or resolve them."),
    (
        "queues",
        "queues:app",
        "What lies in Redis, live: depth, who holds what, dead letters; show, requeue, drop, purge.",
    ),
    ("keys", "keys:app", "API keys: create, list, revoke, rotate."),
    ("webhooks", "webhooks:app", "Webhooks: list, add, pause, resume, rotate, remove; their deliveries; resend."),
    ("audit", "audit:audit", "Who changed what, newest first."),
    ("limits", "limits:app", "Limits on on-demand requests: used, left, pace, forecast; reset."),
    ("simulator", "simulator:app", "The provider simulator: run it, read its ledger, break it."),
    ("db", "maintenance:db", "The database's tables: size, dead rows, last vacuum; vacuum by hand."),
    ("migrate", "maintenance:migrate", "Bring the database to the newest schema."),
    ("settings", "maintenance:settings", "Print every BEAT_* variable with its default and meaning."),
    (
        "new-platform",
        "new_platform:new_platform",
        "Write the folder of a new platform, which works at once on a simulated provider.",
    ),
    ("chaos", "chaos:chaos", "Break a stack of its own in every way; exit with 1 where a promise did not hold."),
    ("doctor", "doctor:doctor", "Check every dependency; say what is wrong and how to mend it."),
)
REMOTE = frozenset({"scrape", "requests", "why", "retry", "cancel"})
"""Those that can be done over an API elsewhere."""
OF_NO_STACK = frozenset({"up", "simulator", "settings", "new-platform", "chaos"})
"""Those that speak to no Beat that runs already, so that it makes no difference which one is named."""

OF_REHEARSAL = frozenset({"simulator", "chaos"})
"""Those that the production wheel does not contain; another wheel brings them."""

app = App(
    name="beat",
    version=lambda: version("beat-actors"),
    help="Collect social and commerce data through rival providers, and lose nothing. Start with `beat up`.",
    help_epilogue=EPILOGUE,
)
for name, target, purpose in COMMANDS:
    app.command(f"beat_actors.cli.{target}", name=name, help=purpose)
app.register_install_completion_command()


def main() -> None:
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Errors become one sentence on standard error, unless `--debug` asks for all of it."""
    given = [argument for argument in arguments if argument != "--debug"]
    debug = len(given) < len(arguments) or bool(os.environ.get("BEAT_DEBUG"))
    given, url = _without_url(given)
    refusal = _refusal(given, url)
    if refusal is not None:
        tell(refusal)
        return BAD_INPUT
    if url is not None:
        os.environ["BEAT_API_URL"] = url
    try:
        code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        tell(f"{' '.join(str(error).split())} See: {' '.join(('beat', *(error.command_chain or ()), '--help'))}")
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        from beat_actors.cli import failures  # imports every driver

        tell(failures.sentence(error))
        return failures.exit_code(error)
    return code if isinstance(code, int) else 0


def _without_url(given: Sequence[str]) -> tuple[list[str], str | None]:
    """The command line without `--url`, and what it named last: empty where it stood at the end and named nothing."""
    rest: list[str] = []
    url: str | None = None
    arguments = iter(given)
    for argument in arguments:
        if argument == "--url":
            url = next(arguments, "")
        elif argument.startswith("--url="):
            url = argument.removeprefix("--url=")
        else:
            rest.append(argument)
    return rest, url


def _refusal(given: Sequence[str], url: str | None) -> str | None:
    """Why this is not done: it is not installed, or it would be done to another Beat than the one that was named."""
    if url == "":
        return "--url names the API of a Beat elsewhere, such as --url https://beat.example.com. See: beat --help"
    command = next((argument for argument in given if not argument.startswith("-")), None)
    if command in OF_REHEARSAL and find_spec("beat_actors.simulator") is None:
        return f"beat {command} is for rehearsals, and this installation is for production. {WHERE_SIMULATOR}"
    known = {name for name, _, _ in COMMANDS}
    if command not in known - REMOTE or {"--help", "-h"} & set(given):
        return None
    only = f"beat {command} speaks to the Beat of this machine's BEAT_* variables alone, not to an API elsewhere"
    if url is not None:
        return f"{only}, so nothing was done. Run it there, or leave --url away."
    if os.environ.get("BEAT_API_URL") and command not in OF_NO_STACK:
        return f"{only}, and BEAT_API_URL is set, so nothing was done. If you mean this one: env -u BEAT_API_URL beat {command} …"
    return None
