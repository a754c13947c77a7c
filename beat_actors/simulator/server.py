"""The simulator as a server: an application, a context manager for tests, and a process for people."""

import asyncio
import errno
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from beat_actors.errors import BeatError
from beat_actors.simulator import media
from beat_actors.simulator.admin import Admin
from beat_actors.simulator.config import SimulatorConfig
from beat_actors.simulator.engine import Simulator

SIMULATOR: web.AppKey[Simulator] = web.AppKey("simulator", Simulator)


class PortTaken(BeatError):
    """The simulator cannot listen on its port."""

    code = "port_taken"


def create_app(config: SimulatorConfig | None = None) -> web.Application:
    """All simulated providers and the admin routes. The `Simulator` itself is at `app[SIMULATOR]`."""
    simulator = Simulator(config or SimulatorConfig())
    app = web.Application()
    app[SIMULATOR] = simulator
    app.add_routes(Admin(simulator).routes())
    app.router.add_get(f"{media.PREFIX}/{{tail:.*}}", simulator.media.answer)
    app.router.add_route("*", "/{tail:.*}", simulator.answer)
    return app


@asynccontextmanager
async def running(
    config: SimulatorConfig | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve inside a `with` block; yields the base URL. Port 0 is a free one. Raises `PortTaken`."""
    # A caller that hangs up ends its handler, or calls that never answer would stay for ever.
    runner = web.AppRunner(create_app(config), access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
        except OSError as error:
            reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
            raise PortTaken(f"The simulator cannot listen on {host}:{port}: {reason}.") from None
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def serve(
    config: SimulatorConfig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called with the base URL. Raises `PortTaken`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(config, host=host, port=port) as url:
        if ready is not None:
            ready(url)
        await stop.wait()


def run(config: SimulatorConfig, *, host: str, port: int, ready: Callable[[str], None] | None = None) -> None:
    """`serve` in a loop of its own: uvloop's where it is installed. Raises `PortTaken`."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(config, host=host, port=port, ready=ready))
