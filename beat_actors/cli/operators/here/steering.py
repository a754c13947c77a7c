"""Sources with their circuit breakers, and flows."""

from beat_actors.broker import flows, sources
from beat_actors.broker.flows import FlowView, Number
from beat_actors.broker.sources import SourceView
from beat_actors.cli.operators import here
from beat_actors.cli.session import who
from beat_actors.platforms.registry import source_named


class Here(here.Here):
    async def sources(self, source: str | None) -> list[SourceView]:
        return await sources.overview(self.session.database, source)

    async def open_breaker(self, source: str, operation: str | None, seconds: float, *, reason: str) -> list[str]:
        return await sources.open_breaker(
            self.session.database, source, operation, seconds=seconds, actor=who(), reason=reason
        )

    async def close_breaker(self, source: str, operation: str | None, *, reason: str) -> list[str]:
        closed = await sources.close_breaker(self.session.database, source, operation, actor=who(), reason=reason)
        await self.session.wake(source_named(source)[0])
        return closed

    async def open_data_breaker(
        self, source: str, operation: str | None, parser_version: int | None, *, reason: str
    ) -> list[str]:
        return await sources.open_data_breaker(
            self.session.database, source, operation, parser_version=parser_version, actor=who(), reason=reason
        )

    async def close_data_breaker(
        self, source: str, operation: str | None, parser_version: int | None, *, reason: str
    ) -> list[str]:
        trusted = await sources.close_data_breaker(
            self.session.database, source, operation, parser_version=parser_version, actor=who(), reason=reason
        )
        await self.session.wake(source_named(source)[0])
        return trusted

    async def flows(self, platform: str | None) -> list[FlowView]:
        return await flows.overview(self.session.database, platform=platform)

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
        view = await flows.change(
            self.session.database,
            flow,
            platform,
            workers=workers,
            concurrency=concurrency,
            paused=paused,
            actor=who(),
            reason=reason,
        )
        await self.session.wake(view.platform)
        return view
