"""What a command logs on standard error."""

import subprocess
import sys

CODE = """
import structlog
from beat_actors.cli.session import quiet_logs
quiet_logs()
def call(token):
    raise ValueError("refused")
try:
    call("a-token-of-somebody")
except ValueError:
    structlog.get_logger().exception("call_failed", source="lama")
structlog.get_logger().warning("not_an_error")
"""


def test_a_traceback_has_no_values_of_variables() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "call_failed" in done.stderr
    assert "ValueError: refused" in done.stderr
    # The line of the call is in it, and no local variable with its value.
    assert "token = " not in done.stderr
    assert "not_an_error" not in done.stderr
    assert "│" not in done.stderr
