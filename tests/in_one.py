"""Cases that one test goes through, one after the other."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

Test = Callable[..., Awaitable[None]]


def in_one(names: Sequence[str], cases: Sequence[Any]) -> Callable[[Test], Test]:
    """As `pytest.mark.parametrize`, for an asynchronous test whose cases leave nothing behind: all of them meet the same database and the
    same process of the API, which cost many times what a case does. Each case that fails is named."""
    names = [names] if isinstance(names, str) else names

    def decorate(test: Test) -> Test:
        async def every_case(subtests: pytest.Subtests, **given: Any) -> None:
            for case in cases:
                values = dict(zip(names, case if len(names) > 1 else (case,), strict=True))
                with subtests.test(msg=repr(case)[:100]):
                    await test(**given, **values)

        signature = inspect.signature(test)
        wanted = [parameter for parameter in signature.parameters.values() if parameter.name not in names]
        subtests = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
        every_case.__signature__ = signature.replace(parameters=[*wanted, subtests])  # type: ignore[attr-defined]
        every_case.__name__, every_case.__doc__, every_case.__module__ = test.__name__, test.__doc__, test.__module__
        return every_case

    return decorate
