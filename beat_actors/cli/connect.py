"""`beat connect`: from nothing to a credential that is checked. A secret is asked for, or comes of a login, and is never shown."""

import asyncio
import sys
import webbrowser
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from aiohttp import web
from cyclopts import Parameter

from beat_actors.cli.credentials import check_json, checked, read_secret, said_of
from beat_actors.cli.operators.here.credentials import Here
from beat_actors.cli.output import FAILED, printable, say, show_json, show_rows, tell
from beat_actors.cli.session import Session, run
from beat_actors.credentials import login as logins
from beat_actors.credentials.info import CredentialInfo
from beat_actors.errors import BadInput
from beat_actors.pipeline.trial import wanted_params
from beat_actors.platforms.interface import Limit, Login, Source
from beat_actors.platforms.logins import LoginRefused
from beat_actors.platforms.registry import platforms, source_named

PORT = 8477
LOGIN_WITHIN = 600.0
"""Seconds that a login may take a person."""
PAGE = "<!doctype html><title>Beat</title><p>Beat has what it needs. You can close this page."


def connect(
    source: str | None = None,
    /,
    *,
    login: Annotated[bool, Parameter(negative="")] = False,
    paste: Annotated[bool, Parameter(negative="")] = False,
    port: int = PORT,
    label: str = "",
    weight: int = 1,
    account: str | None = None,
    shared: bool | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Add a credential of a provider, step by step. Its fields are asked for, or read from standard input as JSON or as NAME=VALUE lines.
    It is sealed, checked with one call, and shown with its scopes and limits. Exits with 1 if the provider does not take it.

    Parameters
    ----------
    source
        A source of any platform, such as graphapi; without one, all are listed with what each needs.
    login
        Log in with a browser (OAuth), where the provider has that. The fields are then those of your application there.
    paste
        Open no browser and no port: paste the address to which the browser was sent. A terminal of a machine without a browser asks for it anyway.
    port
        The port of this machine to which the browser comes back. Register http://localhost:PORT/ as a redirect URL of your application.
    weight
        How often it is picked, relative to its neighbours.
    account
        The account that may use the credential's owner: a store, a business account.
    shared
        Let it also serve calls that need no owner, of all accounts. Without --account it does, with it it does not.
    """
    if source is None:
        _list(json)
        return 0
    platform, declared = source_named(source)
    if login and declared.login is None:
        raise BadInput(f"{source} has no login; give its fields: {_fields(declared)}", field="login")
    if declared.guide and not json:
        say(f"{source} of {platform}: {declared.guide}")
    secret = {} if login else read_secret(declared.secret_forms())

    async def work(session: Session) -> tuple[CredentialInfo, bool]:
        given = secret
        if login and declared.login is not None:
            given = await _log_in(session, declared, declared.login, port, paste)
        added, new = await session.credentials.add(
            source, given, label=label, weight=weight, account_id=account, shared=shared
        )
        await session.wake(platform)
        found = await session.credentials.info(added)
        return (await checked(Here(session), found, declared) if new else found), new

    found, new = run(work)
    operation = next(iter(declared.endpoints))
    if json:
        limits = [describe_limit(limit) for limit in declared.limits]
        show_json({"id": found.id, "source": source, "added": new, "check": check_json(found), "limits": limits})
    else:
        said = said_of(found, declared) if new else ", which was there already"
        say(printable(f"credential {found.id} of {source}{' is sealed' if new else ''}{said}"))
        for limit in declared.limits:
            say(f"  limit: {describe_limit(limit)}")
        wanted = " ".join(f"{name}=..." for name in wanted_params(declared.endpoints[operation], operation))
        say(f"one call with it: `beat try {source} {operation} {wanted} --credential {found.id}`".replace("  ", " "))
    return FAILED if found.dead_at is not None else 0


def _list(json: bool) -> None:
    rows = [(platform.name, source) for platform in platforms().values() for source in platform.sources.values()]
    if json:
        show_json(
            [
                {
                    "platform": platform,
                    "source": source.name,
                    "fields": source.secret_forms(),
                    "login": source.login is not None,
                    "guide": source.guide,
                }
                for platform, source in rows
            ]
        )
        return
    show_rows(
        ("platform", "source", "fields", "--login", "where to get one"),
        [(platform, one.name, _fields(one), "yes" if one.login else "", one.guide) for platform, one in rows],
    )


def _fields(source: Source) -> str:
    return "; or ".join(", ".join(form) for form in source.secret_forms())


def describe_limit(limit: Limit) -> str:
    """A limit in words."""
    per = f"a day of {limit.calendar}" if limit.calendar else f"any {limit.seconds:g} s"
    of = "all credentials of the source together" if limit.scope == "source" else "each credential"
    only = f", of {', '.join(sorted(limit.operations))} alone" if limit.operations is not None else ""
    return f"{limit.calls:,} calls in {per}, for {of}{only}"


async def _log_in(session: Session, source: Source, login: Login, port: int, paste: bool) -> dict[str, str]:
    given = read_secret((login.asks,), optional=login.optional)
    known = logins.begin(login, given, f"http://localhost:{port}/")
    url = login.authorize(known)
    say(f"it will be allowed: {', '.join(login.scopes)}")
    say("open this page and log in:")
    say(url)
    code = await (_pasted(known) if paste or _must_paste() else _brought(known, url, port))
    return await logins.finish(session.engine.client, source, login, known, code)


def _must_paste() -> bool:
    """Whether this machine has no browser, and a terminal to paste into: at the other end of ssh, or in a container."""
    try:
        webbrowser.get()
    except webbrowser.Error:
        return sys.stdin.isatty()
    return False


async def _pasted(known: Mapping[str, str]) -> str:
    say(
        f"a browser on any machine will do. After the login it is sent to {known['redirect_uri']}, which it need not reach; copy that address, with all that follows"
    )
    return logins.code_of(await asyncio.to_thread(input, "the address to which the browser was sent: "), known)


async def _brought(known: Mapping[str, str], url: str, port: int) -> str:
    """The code that the browser brings to this machine's port."""
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def take(request: web.Request) -> web.Response:
        if not request.query.get("state"):
            raise web.HTTPNotFound
        if not came.done():
            came.set_result(str(request.url))
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "localhost", port).start()
        except OSError as error:
            raise BadInput(
                f"port {port} of this machine is taken ({error.strerror}); give another --port, or --paste",
                field="port",
            ) from None
        if not await asyncio.to_thread(webbrowser.open, url):
            tell(
                f"no browser could be opened here. Open the page on this machine, or end this and use --paste; waiting {LOGIN_WITHIN:.0f} s"
            )
        async with asyncio.timeout(LOGIN_WITHIN):
            return logins.code_of(await came, known)
    except TimeoutError:
        raise LoginRefused(
            f"nobody came back to {urlsplit(known['redirect_uri']).netloc} within {LOGIN_WITHIN:.0f} s"
        ) from None
    finally:
        await runner.cleanup()
