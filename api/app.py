"""The application: `granian --interface asgi api.app:app` serves it."""

from typing import Any

import falcon.asgi

from actors.mailbox import Mailbox
from api import problems
from api.health import Healthz, Readyz
from api.profiles import Profile
from api.scrape_requests import Explain, ScrapeRequest, ScrapeRequests
from api.services import Opener, Provider, Services
from beat_actors.database import Database
from beat_actors.logs import configure
from beat_actors.settings import load


def create_app(opener: Opener) -> falcon.asgi.App[Any, Any]:
    """`opener` is called when the server starts, inside its event loop."""
    provider = Provider(opener)
    application = falcon.asgi.App(middleware=[provider])
    problems.install(application)
    application.add_route("/v1/scrape-requests", ScrapeRequests(provider))
    application.add_route("/v1/scrape-requests/{request_id}", ScrapeRequest(provider))
    application.add_route("/v1/scrape-requests/{request_id}/explain", Explain(provider))
    application.add_route("/v1/profiles/{platform}/{handle}", Profile(provider))
    application.add_route("/healthz", Healthz())
    application.add_route("/readyz", Readyz(provider))
    return application


def open_services() -> Services:
    """From the environment. Raises `BadSettings`."""
    settings = load()
    configure(settings, service="api")
    mailbox = Mailbox(settings)
    return Services(Database(settings, name="api"), mailbox.ring, mailbox.ping, mailbox.close)


app = create_app(open_services)
