"""Sources with their circuit breakers, and flows."""

import msgspec

from beat_actors.broker.flows import FlowView, Number
from beat_actors.broker.sources import SourceView
from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment
from beat_actors.errors import UnknownName


class SourceList(msgspec.Struct):
    sources: list[SourceView]


class FlowList(msgspec.Struct):
    flows: list[FlowView]


class There(operators.There):
    async def sources(self, source: str | None) -> list[SourceView]:
        found = (await self.client.fetch("/v1/sources", SourceList)).sources
        chosen = [one for one in found if source in (None, one.source)]
        if not chosen:
            known = ", ".join(sorted(one.source for one in found))
            raise UnknownName(f"there is no source {source!r}; there is: {known}", field="source")
        return chosen

    async def open_breaker(self, source: str, operation: str | None, seconds: float, *, reason: str) -> list[str]:
        body = named(operation=operation, seconds=seconds, reason=reason)
        view = await self.client.send("POST", f"/v1/sources/{segment(source)}/breaker/open", SourceView, body)
        return view.operations if operation is None else [operation]

    async def close_breaker(self, source: str, operation: str | None, *, reason: str) -> list[str]:
        body = named(operation=operation, reason=reason)
        view = await self.client.send("POST", f"/v1/sources/{segment(source)}/breaker/close", SourceView, body)
        return view.operations if operation is None else [operation]

    async def open_data_breaker(
        self, source: str, operation: str | None, parser_version: int | None, *, reason: str
    ) -> list[str]:
        return await self._turn_data_breaker("open", source, operation, parser_version, reason)

    async def close_data_breaker(
        self, source: str, operation: str | None, parser_version: int | None, *, reason: str
    ) -> list[str]:
        return await self._turn_data_breaker("close", source, operation, parser_version, reason)

    async def _turn_data_breaker(
        self, change: str, source: str, operation: str | None, parser_version: int | None, reason: str
    ) -> list[str]:
        body = named(operation=operation, parser_version=parser_version, reason=reason)
        view = await self.client.send("POST", f"/v1/sources/{segment(source)}/data-breaker/{change}", SourceView, body)
        return view.operations if operation is None else [operation]

    async def flows(self, platform: str | None) -> list[FlowView]:
        return (await self.client.fetch("/v1/flows", FlowList, {"platform": platform})).flows

    async def change_flow(
        self,
        flow: str,
        platform: str | None,
        *,
        workers: Number,
        concurrency: Number,
        paused: bool | None,
        reason: str,
    ) -> FlowView:
        body = named(platform=platform, paused=paused, reason=reason)
        numbers = {"workers": workers, "concurrency": concurrency}
        body |= {name: number for name, number in numbers.items() if number is not msgspec.UNSET}
        return await self.client.send("PATCH", f"/v1/flows/{segment(flow)}", FlowView, body)
