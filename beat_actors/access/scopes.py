"""What a key may do. A scope contains only what stands beside it, so a feeder that submits sees nothing of what others asked."""

from collections.abc import Iterable
from enum import StrEnum

from beat_actors.errors import BadInput


class Scope(StrEnum):
    """SUBMIT asks for data, URGENT lets it ask with the priority customer, READ looks at requests and at what is known, METRICS reads the metrics
    of the installation, OPERATE runs it, ADMIN gives access to others."""

    SUBMIT = "submit"
    URGENT = "urgent"
    READ = "read"
    METRICS = "metrics"
    OPERATE = "operate"
    ADMIN = "admin"


CONTAINS = {
    Scope.SUBMIT: frozenset({Scope.SUBMIT}),
    Scope.URGENT: frozenset({Scope.URGENT}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.METRICS: frozenset({Scope.METRICS}),
    Scope.OPERATE: frozenset({Scope.OPERATE, Scope.SUBMIT, Scope.URGENT, Scope.READ, Scope.METRICS}),
    Scope.ADMIN: frozenset(Scope),
}
# What is operated is everybody's, so a key that is one account's alone cannot hold the others.
OF_AN_ACCOUNT = frozenset({Scope.SUBMIT, Scope.URGENT, Scope.READ})


def named(names: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes of these names, each once, in the order of `Scope`. Raises `BadInput`."""
    wanted = {name.lower() for name in names}
    unknown = wanted - set(Scope)
    if unknown or not wanted:
        said = f"not {sorted(unknown)[0][:40]!r}" if unknown else "and one at least"
        raise BadInput(f"a scope is {', '.join(Scope)}, {said}", field="scope")
    return tuple(scope for scope in Scope if scope in wanted)


def allowed(held: Iterable[str]) -> frozenset[Scope]:
    """All that these scopes contain."""
    return frozenset().union(*(CONTAINS[Scope(name)] for name in held))
