"""What the command line and tests use to look into a running simulator, and to break it."""

from types import TracebackType
from typing import Any, Self

import aiohttp

from beat_actors.errors import BadInput


class SimulatorClient:
    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5), trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def state(self) -> dict[str, Any]:
        return dict(await self._ask("GET", "state"))

    async def ledger(self) -> dict[str, Any]:
        return dict(await self._ask("GET", "ledger"))

    async def reset_ledger(self) -> None:
        await self._ask("POST", "ledger/reset")

    async def faults(self) -> list[dict[str, Any]]:
        return list(await self._ask("GET", "faults"))

    async def add_fault(self, kind: str, source: str, **fields: Any) -> dict[str, Any]:
        """Raises `BadInput` for what the simulator refuses."""
        given = {name: value for name, value in fields.items() if value is not None}
        return dict(await self._ask("POST", "faults", {"kind": kind, "source": source, **given}))

    async def clear_faults(self) -> int:
        return int((await self._ask("DELETE", "faults"))["cleared"])

    async def set_latency(self, seconds: float) -> None:
        await self._ask("POST", "latency", {"latency": seconds})

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, f"{self._url}/_simulator/{path}", json=body) as response:
            answer = await response.json()
            if response.status == 400:
                raise BadInput(answer["message"], field=answer.get("field"))
            response.raise_for_status()
            return answer
