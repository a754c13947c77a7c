"""How a driver's error becomes text: without the user and the password that a process connects with. Logs, alerts and the command line
say what is made here; callers of the API are told a sentence of Beat's own, since the text may name a host."""

import re

HIDDEN = "***"
# In the words of PostgreSQL, libpq, PgBouncer, Redis, and of anything that quotes a URL or a connection string.
_LOGIN = re.compile(
    r"""(?P<url>(?:postgres|redis|valkey)[a-z0-9+]*://)[^\s@'"]*@|(?P<other>[a-z][a-z0-9+.-]*://)[^\s/@'"?#]*@"""
    r"""|(?P<named>\b(?:user|role|username)\s+)(?:"[^"]*"|'[^']*')"""
    r"""|(?P<redis>\bUser\s+)\S+(?=\s+has\s+no\s+permission)"""
    r"""|(?P<pair>\b(?:user|username|password|passfile|sslpassword)(?:['"]\s*:|\s*=)\s*)"""
    r"""(?:'(?:[^'\\]|\\.)*'?|"[^"]*"?|[^\s'",;)]+)""",
    re.IGNORECASE,
)


def without_logins(text: str) -> str:
    """The text with `***` for users and passwords: of URLs, of connection strings, and where a server names who was refused."""
    return _LOGIN.sub(_hidden, text)


def said(error: BaseException) -> str:
    """The first line of what a driver says of its error, or the error's kind where it says nothing."""
    return without_logins(str(error).strip().partition("\n")[0]) or type(error).__name__


def _hidden(found: re.Match[str]) -> str:
    kept = next(value for value in found.groups() if value is not None)
    return f"{kept}{HIDDEN}" + ("@" if kept.endswith("://") else "")
