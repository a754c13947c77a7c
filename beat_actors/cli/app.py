"""The commands, gathered."""

import os
import sys
from importlib.metadata import version

from cyclopts import App

from beat_actors.cli import credentials, maintenance, requests, scrape, simulator, up
from beat_actors.cli.session import exit_code, tell
from beat_actors.errors import BeatError

app = App(
    name="beat",
    version=lambda: version("beat-actors"),
    help="Collect social and commerce data through rival providers, and lose nothing. Start with `beat up`.",
)
app.command(up.up)
app.command(scrape.scrape)
app.command(requests.requests)
app.command(requests.why)
app.command(credentials.app)
app.command(simulator.app)
app.command(maintenance.migrate)
app.command(maintenance.settings)
app.command(maintenance.doctor)
app.register_install_completion_command()


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 bad input, 3 a dependency is away, 4 not found, 5 timed out."""
    try:
        code = app(exit_on_error=False, print_error=True)
    except BeatError as error:
        if os.environ.get("BEAT_DEBUG"):
            raise
        tell(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if type(error).__module__.startswith("cyclopts"):
            sys.exit(2)
        raise
    sys.exit(code if isinstance(code, int) else 0)
