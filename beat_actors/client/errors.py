"""What the client raises: one class for each thing that a caller can do about a refusal."""

import re

import msgspec

AWAY = frozenset({429, 502, 503, 504})
"""Statuses after which the client tries a call again."""


class Problem(msgspec.Struct, frozen=True):
    """Why the API refused a call (RFC 9457). `field`: the part of the call that is at fault."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    field: str | None = None

    @property
    def code(self) -> str:
        """The stable name of the error, as `bad_input`."""
        return self.type.rpartition(":")[2]


class ApiError(Exception):
    """The API refused a call. `retry_after`: seconds, where the answer had it. `body`: the whole answer."""

    def __init__(self, problem: Problem, retry_after: float | None = None, body: bytes = b"") -> None:
        super().__init__(problem.detail or problem.title or f"the API answered {problem.status}")
        self.problem = problem
        self.retry_after = retry_after
        self.body = body

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def status(self) -> int:
        return self.problem.status


class BadRequest(ApiError):
    """The call can never succeed as it is. `problem.field` names the part that is wrong."""


class NotAllowed(ApiError):
    """The key is missing, unknown or expired, or may not make this call."""


class NotThere(ApiError):
    """The thing does not exist, or this key may not see it."""


class Refused(ApiError):
    """The call contradicts the state of the API (409), as an idempotency key does that came with another body before."""


class Away(ApiError):
    """The API or one of its stores did not answer, or the key's rate was used up, for longer than the client's `patience`."""


def error_of(status: int, body: bytes, retry_after: str | None) -> ApiError:
    """The error for an answer with a status of 400 or more."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        problem = Problem()
    if not problem.status:
        problem = msgspec.structs.replace(problem, status=status)
    seconds = float(retry_after) if retry_after and re.fullmatch("[0-9]{1,9}", retry_after) else None
    kinds: dict[int, type[ApiError]] = {401: NotAllowed, 403: NotAllowed, 404: NotThere, 409: Refused}
    if status in AWAY:
        return Away(problem, seconds, body)
    return kinds.get(status, BadRequest if status < 500 else ApiError)(problem, seconds, body)
