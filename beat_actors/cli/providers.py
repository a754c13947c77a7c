"""What `beat doctor` says of the providers: which sources are real and which simulated, and how their calls leave."""

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from beat_actors.cli.finding import Finding
from beat_actors.platforms.interface import Source
from beat_actors.platforms.registry import platforms
from beat_actors.routes import ALL, Route
from beat_actors.settings import Settings

ANSWERS_WITHIN = 3.0
"""Seconds within which the simulator answers."""


async def examine(settings: Settings) -> list[Finding]:
    """One line for the real sources, one for the simulated ones, and one for each source whose calls leave in a way of their own.

    Raises `aiohttp.ClientError` or `OSError` where the simulator does not answer.
    """
    sources = {name: source for platform in platforms().values() for name, source in platform.sources.items()}
    routes = {name: settings.route(name) for name in sorted(sources)}
    behind = {route.base_url for route in routes.values() if route.base_url and not route.simulated}
    answers = await asyncio.gather(*(_is_simulator(url) for url in behind))
    disguised = {url for url, is_one in zip(behind, answers, strict=True) if is_one}
    simulated = [name for name, route in routes.items() if route.simulated or route.base_url in disguised]
    real = [name for name in routes if name not in simulated]
    found = [Finding("real sources", ", ".join(real) or "none")]
    if settings.simulator_url is not None:
        state = await _state(settings.simulator_url)
        said = f"{', '.join(simulated) or 'none'}, at {settings.simulator_url}: {state.get('population')} profiles, {len(state.get('faults', ()))} faults on"
        found.append(Finding("simulated sources", said))
    elif simulated:
        found.append(Finding("simulated sources", ", ".join(simulated)))
    if settings.environment == "production":
        found += [
            Finding(
                f"source {name}",
                f"its base_url {routes[name].base_url} is a simulator's, and the environment is production: its keys go there, and its data is not real",
                f"take base_url of {name} out of BEAT_SOURCES, or set BEAT_ENVIRONMENT=rehearsal",
            )
            for name in simulated
        ]
    return found + [
        _way(name, sources[name], route) for name, route in routes.items() if _is_own(settings, name, route)
    ]


def _is_own(settings: Settings, name: str, route: Route) -> bool:
    return not route.simulated and (name in settings.sources or ALL in settings.sources)


def _way(name: str, source: Source, route: Route) -> Finding:
    said = [f"called at {route.base_url or source.base_url}"]
    said += [f"through {route.through}"] if route.through else []
    said += [f"trusting {route.ca_file}"] if route.ca_file else []
    said.append(f"as {route.user_agent}")
    return Finding(f"route {name}", ", ".join(said), _untrusted(route))


def _untrusted(route: Route) -> str:
    """What to do where the CA file is of no use on this host."""
    if route.ca_file is None:
        return ""
    try:
        ssl.create_default_context(cafile=route.ca_file)
    except OSError as error:
        return f"put a PEM file of certificates there, readable by the workers: {error.strerror or 'it holds none'}"
    return ""


async def _is_simulator(url: str) -> bool:
    """Whether a simulator answers behind a base URL. What cannot be asked is taken for none: the way there may lead through a proxy."""
    try:
        return "population" in await _state(urlsplit(url)._replace(path="", query="").geturl())
    except (aiohttp.ClientError, OSError, ValueError):  # a time-out is an OSError
        return False


async def _state(url: str) -> dict[str, Any]:
    # Not by the simulator's client, which a production installation does not have.
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWERS_WITHIN), raise_for_status=True) as http,
        http.get(f"{url.rstrip('/')}/_simulator/state", allow_redirects=False) as response,
    ):
        state = await response.json()
    return state if isinstance(state, dict) else {}
