"""The commands, gathered, and what happens when one does not succeed.

A command's module is imported when it is run, so that `--help`, `--version` and completion answer at once.
"""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from cyclopts import App, CycloptsError, UnusedCliTokensError
from rich.console import Console

from beat_actors.cli.given import with_stdin
from beat_actors.cli.helping import Flowing
from beat_actors.cli.installing import where_simulator
from beat_actors.cli.output import BAD_INPUT, INTERRUPTED, tell

EPILOGUE = (
    "Commands use the installation that the BEAT_* variables name, else the local stack of this folder, "
    "or over its API the one at BEAT_API_URL (--url) with BEAT_API_KEY. "
    "Exit codes: 0 done, 1 failed, 2 bad input, 3 dependency unavailable, 4 not found, 5 timed out. --debug shows tracebacks."
)
"""Below the list of commands; the help of a single command does not repeat it."""
COMMANDS = (
    ("up", "up:up", "Start the whole stack on this machine, rehearse an outage on it, then keep serving."),
    ("scrape", "scrape:scrape", "Refresh profiles now, wait for them, and show the results."),
    ("requests", "requests:requests", "List requests, newest first, or show one."),
    ("why", "requests:why", "Explain why a request is not done, and when it can be."),
    ("watch", "requests:watch", "Follow a request until it ends."),
    ("retry", "requests:retry", "Retry failed requests: one, or all that match."),
    ("cancel", "requests:cancel", "Cancel requests."),
    (
        "stuck",
        "stuck:stuck",
        "List long-running requests and what blocks them; reclaim them from their worker.",
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
    ("accounts", "accounts:app", "Accounts and the owners that each may use: list, grant, revoke."),
    ("sources", "steering:sources", "List providers and their circuit breakers; pause or resume their calls."),
    ("scorecard", "scorecard:scorecard", "Show how well each source serves each operation, by week."),
    ("flows", "steering:flows", "List flows and their concurrency limits; change, pause, resume."),
    ("brief", "brief:brief", "Tell on one page what is wrong now and why, or the timeline of an incident."),
    ("top", "top:top", "Watch the whole installation live: rates, sources, waiting work, processes, alerts."),
    ("alerts", "alerts:app", "List open alerts with impact and recommended action; silence one."),
    (
        "notify",
        "notify:app",
        "Notifications of alerts: list, add, change, pause, resume, remove sinks; send a test; list messages.",
    ),
    ("quarantine", "quarantine:app", "List quarantined payloads, grouped by error; show, replay or resolve them."),
    ("held", "held:app", "List records that have to be confirmed before they are written; accept or reject one."),
    (
        "assets",
        "assets:app",
        "Assets: the backlog and its end, costs, lists; show one, retry, forget those of a subject, check the bucket.",
    ),
    ("erase", "erase:app", "Erase a person's data, or count them first; list erasures, show or lift one."),
    ("payloads", "payloads:app", "Raw payloads: where they are stored; show one, erase those of requests."),
    ("blast", "restoring:blast", "Show which entities, fields and consumers wrong observations have reached."),
    (
        "restore",
        "restoring:app",
        "Set entities right that wrong observations have changed, from their logs; undo that.",
    ),
    ("check", "checking:check", "Compare entities with their logs; set those right that differ."),
    (
        "snapshot",
        "snapshot:app",
        "Export stored answers without personal data; import them into an empty installation.",
    ),
    ("provenance", "provenance:provenance", "Where each field of a profile or post is known from."),
    (
        "parsers",
        "parsers:app",
        "Parsers: list their versions; show what this checkout reads differently of what is stored, or of what comes.",
    ),
    (
        "queues",
        "queues:app",
        "Show queues live: depth, in-flight messages per worker, dead letters; show, requeue, drop, purge.",
    ),
    ("keys", "keys:app", "API keys: create, list, revoke, rotate."),
    ("webhooks", "webhooks:app", "Webhooks: list, add, pause, resume, rotate, remove; their deliveries; resend."),
    (
        "events",
        "events:app",
        "Events: the state of each sink, the log, replays, parked events; retry or drop them, forget a sink, backfill.",
    ),
    ("audit", "audit:audit", "List who changed what, newest first."),
    (
        "forecast",
        "forecast:forecast",
        "When limits and the calls of credentials will be used up, and when what waits is done.",
    ),
    ("limits", "limits:app", "Limits on on-demand requests: used, left, rate, forecast; reset one."),
    ("simulator", "simulator:app", "Simulated providers: run them, read their ledger, inject faults."),
    ("db", "database:db", "Database tables, connections and processes; vacuum by hand."),
    ("migrate", "installation:migrate", "Migrate the database to the newest schema."),
    ("settings", "installation:settings", "Print every BEAT_* variable with its default and meaning."),
    (
        "new-platform",
        "new_platform:new_platform",
        "Write the folder of a new platform, which works at once on a simulated provider.",
    ),
    ("chaos", "chaos:chaos", "Run faults against a stack of its own; exit with 1 where a guarantee was broken."),
    ("doctor", "doctor:doctor", "Check every dependency; say what is wrong and how to fix it."),
)
OF_NO_STACK = frozenset({"up", "simulator", "settings", "new-platform", "chaos"})
"""Commands that use no Beat that runs already, so that it makes no difference which one is named."""
LOCAL = (
    *((name,) for name in sorted(OF_NO_STACK)),
    ("connect",),
    ("migrate",),
    ("payloads",),
    ("check",),
    ("snapshot",),
    ("parsers",),
    ("try",),
    ("db", "vacuum"),
    ("assets", "check"),
    ("events", "backfill"),
    ("db", "roles"),
)
"""Commands that need this machine's files or way to the providers, the key of the bucket, logins of PostgreSQL that no API has, or more time than
a call of the API may take. All others work over the API, too."""

ELSEWHERE = {"status": "brief", "health": "doctor", "start": "up", "run": "up"}
"""What other programs call a command, and what it is called here."""
OF_REHEARSAL = frozenset({"simulator", "chaos"})
"""Those that the production wheel does not contain; the wheel `beat-actors-rehearsal` brings them."""


def _version() -> str:
    from importlib.metadata import version

    return version("beat-actors")


app = App(
    name="beat",
    version=_version,
    help="Collect social and commerce data through several providers, and lose nothing. Start with `beat up`.",
    help_format="plaintext",
    help_formatter=Flowing(),
    console=Console(emoji=False),  # rich loads all emoji to look for one
)
for name, target, purpose in COMMANDS:
    app.command(f"beat_actors.cli.{target}", name=name, help=purpose)
app.register_install_completion_command(
    help="Install completion for this shell, and add a line that loads it to the start-up file, such as ~/.bashrc."
)


def main() -> None:
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Errors become one sentence on standard error, unless `--debug` asks for all of it."""
    given = [argument for argument in arguments if argument != "--debug"]
    debug = len(given) < len(arguments) or bool(os.environ.get("BEAT_DEBUG"))
    given, url = _without_url([with_stdin(argument) for argument in given])
    refusal = _refusal(given, url)
    if refusal is not None:
        tell(refusal)
        return BAD_INPUT
    if url is not None:
        os.environ["BEAT_API_URL"] = url
    app.help_epilogue = None if _words(given) else EPILOGUE
    try:
        code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        tell(f"{_said(error)} See: `{' '.join(('beat', *(error.command_chain or ()), '--help'))}`")
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        from beat_actors.cli import failures  # imports every driver

        tell(failures.sentence(error))
        return failures.exit_code(error)
    return code if isinstance(code, int) else 0


def _said(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"nothing was done: this command takes no argument {' '.join(error.unused_tokens or ())!r}."
    return " ".join(str(error).split())


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
        return "--url names the API of a Beat elsewhere, such as --url https://beat.example.com. See: `beat --help`"
    words = _words(given)
    command = words[0] if words else None
    if command is not None and given[0] == command and command not in app and not command.startswith("__"):
        return _unknown(command)  # `__complete` is for shells, and of cyclopts
    if command in OF_REHEARSAL and find_spec("beat_actors.simulator") is None:
        return f"beat {command} is for rehearsals, and this installation is for production. {where_simulator()}"
    local = next((names for names in LOCAL if tuple(words[: len(names)]) == names), None)
    if local is None or {"--help", "-h"} & set(given):
        return None
    name = " ".join(local)
    only = f"beat {name} works on this machine alone, not over an API"
    if url is not None:
        return f"{only}, so nothing was done. Run it there, or leave --url away."
    if os.environ.get("BEAT_API_URL") and command not in OF_NO_STACK:
        return f"{only}, and BEAT_API_URL is set, so nothing was done. If you mean this machine: env -u BEAT_API_URL beat {name} …"
    return None


def _unknown(command: str) -> str:
    """What cyclopts says of a command that does not exist, for which it loads all commands first."""
    from difflib import get_close_matches

    near = get_close_matches(command, [name for name, _, _ in COMMANDS], n=1, cutoff=0.75)
    nearest = near[0] if near else ELSEWHERE.get(command)
    meant = f" Did you mean `beat {nearest}`?" if nearest else ""
    return f'there is no command "{command}".{meant} `beat --help` lists the commands.'


def _words(given: Sequence[str]) -> list[str]:
    """The words of a command line that are no options."""
    return [argument for argument in given if not argument.startswith("-")]
