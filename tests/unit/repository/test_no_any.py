"""No row, value or parameter of the engine is annotated with a bare `Any`, and no statement is a text without a type.

`dict[str, Any]` and `Mapping[str, Any]` are JSON objects that were decoded. `Any` is also free where a library's generic asks for a
parameter that nobody uses (`Coroutine[Any, Any, T]`, `psycopg.AsyncConnection[Any]`), and of `*args` and `**kwargs` that are passed on.
mypy holds the types; this test holds that there are types."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_origin

import pytest

from beat_actors.database import Pipeline, Statement, Transaction

ROOT = Path(__file__).parents[3]
PACKAGES = ("beat_actors", "actors", "scheduler")
"""Not `api`, whose base classes are Falcon's."""
MADE_UP = re.compile(r"/simulator(/|\.py)")
"""The simulator changes JSON of any shape."""
CONTAINERS = {
    "Annotated", "AsyncIterator", "Awaitable", "Collection", "Iterable", "Iterator", "Sequence", "deque", "frozenset", "list", "set",
    "tuple",
}  # fmt: skip
"""`Sequence[Any]` and the like are as bare as `Any` itself."""
OF_A_DRIVER = "a connection as SQLAlchemy hands it to its events, which declares no type"
OF_DRAMATIQ = "Dramatiq's consumers and middleware declare no types"
OF_A_MESSAGE = "arguments of any actor, before they are checked against it"
OF_A_FIELD = "a column of any entity, as the statement reads it"
OF_REDIS = "what a command answers depends on its name"
ALLOWED: dict[str, str] = {
    "actors/broker.py: BeatBroker._arguments": OF_A_MESSAGE,
    "actors/broker.py: BeatBroker._arguments.arguments": OF_A_MESSAGE,
    "actors/broker.py: KeepUnrecorded.after_process_message.message": OF_DRAMATIQ,
    "actors/broker.py: KeepUnrecorded.after_process_message.result": OF_DRAMATIQ,
    "actors/broker.py: WokenConsumer.__next__": OF_DRAMATIQ,
    "actors/broker.py: WokenConsumer._let_go.message": OF_DRAMATIQ,
    "actors/broker.py: WokenConsumer.ack.message": OF_DRAMATIQ,
    "actors/broker.py: WokenConsumer.nack.message": OF_DRAMATIQ,
    "actors/broker.py: WokenConsumer.requeue.messages": OF_DRAMATIQ,
    "actors/encoder.py: Fields.args": OF_A_MESSAGE,
    "actors/queues.py: MessageView.args": OF_A_MESSAGE,
    "actors/queues.py: Queues._queue.ends": OF_REDIS,
    "actors/queues.py: Queues._queue.last_dead": OF_REDIS,
    "beat_actors/chaos/families/failovers.py: _refusals.found": OF_REDIS,
    "beat_actors/chaos/families/failovers.py: _uses.found": OF_REDIS,
    "beat_actors/chaos/families/failovers.py: _value": "one column, of the type that the caller's query has",
    "beat_actors/chaos/rig.py: Rig.rows": "what one fault asks for once; what a run is judged by has types (`rows_of`)",
    "beat_actors/data/provenance.py: FieldProvenance.value": OF_A_FIELD,
    "beat_actors/data/reading.py: maker_of.row": OF_A_FIELD,
    "beat_actors/data/reading.py: maker_of.row.age": OF_A_FIELD,
    "beat_actors/data/reading.py: maker_of.row.held": OF_A_FIELD,
    "beat_actors/data/reading.py: maker_of.row.score": OF_A_FIELD,
    "beat_actors/data/reading.py: maker_of.row.values": OF_A_FIELD,
    "beat_actors/database/pool.py: Pool._check._proxy": OF_A_DRIVER,
    "beat_actors/database/pool.py: Pool._check.dbapi_connection": OF_A_DRIVER,
    "beat_actors/database/pool.py: Pool._check.record": OF_A_DRIVER,
    "beat_actors/database/pool.py: _note_made._dbapi_connection": OF_A_DRIVER,
    "beat_actors/database/pool.py: _note_made.record": OF_A_DRIVER,
    "beat_actors/database/pool.py: _note_use._dbapi_connection": OF_A_DRIVER,
    "beat_actors/database/pool.py: _note_use.record": OF_A_DRIVER,
    "beat_actors/database/pool.py: _prepare._record": OF_A_DRIVER,
    "beat_actors/database/pool.py: _prepare.dbapi_connection": OF_A_DRIVER,
    "beat_actors/database/sql.py: _first": "the column of a statement's type, which the constructor has",
    "beat_actors/database/sql.py: _first.values": "as above",
    "beat_actors/pipeline/holes.py: _remove.page": "a step into decoded JSON, which is a list or an object",
    "beat_actors/primary.py: _AsyncEnds.read_response": OF_REDIS,
    "beat_actors/primary.py: _Ends.read_response": OF_REDIS,
    "beat_actors/quotas/limiter.py: StackedLimiter._run": OF_REDIS,
    "beat_actors/settings.py: DatabaseSettings.__repr_args__": "as pydantic declares it",
    "beat_actors/webhooks/client.py: MeteredSocket.recv_into.buffer": "any buffer, as `socket` has it",
}
"""What is annotated so all the same, and why."""


def is_bare(annotation: ast.expr | None) -> bool:
    """Whether it is `Any`, a container of it, or a union with one of them."""
    match annotation:
        case ast.Constant(value=str() as text):
            return is_bare(ast.parse(text, mode="eval").body)
        case ast.Name(id="Any") | ast.Attribute(attr="Any"):
            return True
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return is_bare(left) or is_bare(right)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Tuple(elts=parts)) if name in CONTAINERS:
            return any(is_bare(part) for part in parts)
        case ast.Subscript(value=ast.Name(id=name), slice=part) if name in CONTAINERS:
            return is_bare(part)
    return False


def places(tree: ast.AST, scope: str = "") -> Iterator[str]:
    """Where a bare `Any` stands: `function.parameter`, `function` for what it returns, `Class.attribute` or `function.local`,
    `call()` for an argument."""
    for node in ast.iter_child_nodes(tree):
        inner = scope
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}{node.name}."
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            asked = node.args
            every = [*asked.posonlyargs, *asked.args, *asked.kwonlyargs]
            yield from (f"{inner}{one.arg}" for one in every if is_bare(one.annotation))
            if is_bare(node.returns):
                yield inner.removesuffix(".")
        if isinstance(node, ast.AnnAssign) and is_bare(node.annotation):
            yield f"{scope}{ast.unparse(node.target)}"
        if isinstance(node, ast.Call) and any(isinstance(one, ast.Name) and one.id == "Any" for one in node.args):
            yield f"{scope}{ast.unparse(node.func)}()"
        yield from places(node, inner)


def test_nothing_is_annotated_with_a_bare_any() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {place}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not MADE_UP.search(path.as_posix())
        for place in places(ast.parse(path.read_text()))
    }
    assert found - ALLOWED.keys() == set(), "give these a type (`object` where any value will do), or a reason above"
    assert ALLOWED.keys() - found == set(), "these are bare no more"


@pytest.mark.parametrize(
    "method", [getattr(Transaction, name) for name in ("rows", "row", "only", "value", "run")] + [Pipeline.run]
)
def test_a_transaction_takes_statements_with_types_alone(method: Callable[..., object]) -> None:
    """A text would have rows of any type. Tests send them; mypy refuses them in the packages that it checks."""
    asked = inspect.signature(method).parameters["sql"]
    assert get_origin(asked.annotation) is Statement


def test_a_bare_any_is_found_wherever_it_stands() -> None:
    source = """
class Row(NamedTuple):
    id: int
    rows: Sequence[Any]
    fields: dict[str, Any]
    late: "Any | None"
    def of(self, row: Any, *rest: Any, key: str, only: list[Any] | None = None, **more: Any) -> tuple[int, Any]:
        found: typing.Any = self.fields
        def inner(x: int) -> Any: ...
connection: AsyncConnection[Any]
made: Callable[[Any], int]
nth: Annotated[Any, 1]
LEASE = SQL("lease", Any)
"""
    assert set(places(ast.parse(source))) == {
        "Row.rows", "Row.late", "Row.of.row", "Row.of.only", "Row.of", "Row.of.found", "Row.of.inner",
        "nth", "SQL()",
    }  # fmt: skip
