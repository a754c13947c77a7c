"""The typed client of a simulator's admin routes, for tests and the command line."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from beat_actors.errors import BadInput, UnknownName
from beat_actors.simulator.faults import ActiveFault
from beat_actors.simulator.happenings import Happened
from beat_actors.simulator.ledger import LedgerReport
from beat_actors.simulator.media import MediaReport

T = TypeVar("T")


class SimulatorRefused(BadInput):
    """The simulator did not do what it was asked to; the message is its own."""

    code = "simulator_refused"


class UnknownToSimulator(SimulatorRefused, UnknownName):
    """The simulator has no provider, operation or fault of this name; the message lists those that it has."""

    code = UnknownName.code


class SimulatorClient:
    """Use it in an `async with` block. Every method raises `SimulatorRefused`, or `aiohttp.ClientError` where nobody answers."""

    def __init__(self, base_url: str) -> None:
        self._base = f"{base_url.rstrip('/')}/_simulator"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def state(self) -> Mapping[str, Any]:
        return await self._ask("GET", "/state", dict[str, Any])

    async def ledger(self) -> LedgerReport:
        return await self._ask("GET", "/ledger", LedgerReport)

    async def reset_ledger(self) -> None:
        await self._tell("POST", "/ledger/reset")

    async def reset(self) -> None:
        """No faults, no happenings, no calls, no usage, no known keys."""
        await self._tell("POST", "/reset")

    async def faults(self) -> Sequence[ActiveFault]:
        return await self._ask("GET", "/faults", list[ActiveFault])

    async def add_fault(self, kind: str, source: str = "*", **details: Any) -> ActiveFault:
        """`details`: the other fields of `faults.Fault`."""
        return await self._ask("POST", "/faults", ActiveFault, {"kind": kind, "source": source, **details})

    async def remove_fault(self, number: int) -> None:
        await self._tell("DELETE", f"/faults/{number}")

    async def clear_faults(self, source: str | None = None) -> None:
        await self._tell("DELETE", f"/faults?source={source}" if source else "/faults")

    async def set_latency(self, seconds: float, jitter: float = 0.0) -> None:
        await self._tell("POST", "/latency", {"seconds": seconds, "jitter": jitter})

    async def set_limits(
        self,
        *,
        enabled: bool | None = None,
        source: str | None = None,
        windows: Sequence[tuple[int, float]] | None = None,
    ) -> None:
        """`windows` are (calls, seconds) for each credential of `source`."""
        told = None if windows is None else [{"calls": calls, "seconds": seconds} for calls, seconds in windows]
        await self._tell("POST", "/limits", {"enabled": enabled, "source": source, "windows": told})

    async def add_credential(
        self,
        source: str,
        secret: str,
        *,
        revoked: bool = False,
        windows: Sequence[tuple[int, float]] | None = None,
        quota: tuple[int, float] | None = None,
        **grant: Any,
    ) -> str:
        """Make a key known; `quota` is a plan's budget (calls, seconds until it is full again). Returns its fingerprint.

        `grant`: the other fields of `provider.Grant`.
        """
        limits: list[dict[str, Any]] = [{"calls": calls, "seconds": seconds} for calls, seconds in windows or ()]
        if quota is not None:
            limits.append({"calls": quota[0], "seconds": quota[1], "quota": True})
        body: dict[str, Any] = {"source": source, "secret": secret, "revoked": revoked, **grant}
        if windows is not None or quota is not None:
            body["windows"] = limits
        answer = await self._ask("POST", "/credentials", dict[str, Any], body)
        return str(answer["credential"])

    async def accept_any(self, accept: bool) -> None:
        await self._tell("POST", "/credentials", {"accept_any": accept})

    async def person(self, name: str, posts: int = 0) -> Mapping[str, Any]:
        """The truth about a handle or pk: `{"person": …, "posts": […]}`."""
        return await self._ask("GET", f"/people/{name}?posts={posts}", dict[str, Any])

    async def truths(self, name: str, since: float, until: float, posts: int = 0) -> Sequence[Mapping[str, Any]]:
        """All that was true of a handle or pk between these epoch seconds, in order: `{"at": …, "person": …, "posts": […]}`."""
        asked = f"/people/{name}/truths?since={since}&until={until}&posts={posts}"
        return (await self._ask("GET", asked, dict[str, list[dict[str, Any]]]))["truths"]

    async def let_happen(self, kind: str, handle: str | None = None, **details: Any) -> Happened:
        """A true event of one of the people, or of a share of all. `details`: the other fields of `happenings.Happening`."""
        return await self._ask("POST", "/happenings", Happened, {"kind": kind, "handle": handle, **details})

    async def happenings(self) -> Sequence[Happened]:
        return await self._ask("GET", "/happenings", list[Happened])

    async def clear_happenings(self) -> None:
        await self._tell("DELETE", "/happenings")

    async def media(self, *, pictures: bool = False) -> MediaReport:
        """What the hosts of pictures were asked for."""
        return await self._ask("GET", f"/media?pictures={int(pictures)}", MediaReport)

    async def set_media(self, *, life: float | None = None, ahead: float | None = None) -> None:
        """`life`: seconds for which media URLs are good from now on. `ahead`: seconds that the clock of their hosts is put on."""
        await self._tell("POST", "/media", {"life": life, "ahead": ahead})

    async def reset_media(self) -> None:
        await self._tell("POST", "/media/reset")

    async def _ask(self, method: str, path: str, shape: type[T], body: Any = None) -> T:
        return msgspec.json.decode(await self._tell(method, path, body), type=shape)

    async def _tell(self, method: str, path: str, body: Any = None) -> bytes:
        if self._session is None:
            raise RuntimeError("use SimulatorClient in an `async with` block")
        data = None if body is None else msgspec.json.encode(body)
        async with self._session.request(method, self._base + path, data=data) as response:
            answer = await response.read()
            if response.status >= 400:
                refusal = UnknownToSimulator if response.status == 404 else SimulatorRefused
                raise refusal(_sentence(answer) or f"HTTP {response.status}")
            return answer


def _sentence(answer: bytes) -> str:
    try:
        return str(msgspec.json.decode(answer, type=dict[str, Any]).get("error", ""))
    except msgspec.DecodeError:
        return ""
