"""The application: `python -m api` serves it."""

import sys

from actors.mailbox import Mailbox
from api import data, docs, problems, schemas
from api.access import App, Gate
from api.accounts import AccountGrants, Grants
from api.assets import AssetPicture
from api.batches import ROUTES as BATCHES
from api.deadline import StartOfCall
from api.health import Healthz, Readyz
from api.keys import Key, Keys, Rotation
from api.metrics import Counted, MetricsPage
from api.on_demand import Forecast, LimitReset, Limits, Refresh
from api.openapi import Document
from api.operations import ROUTES
from api.probes import Probed
from api.retries import CancelMatching, Retry, RetryMatching
from api.scrape_requests import Cancel, Explain, ScrapeRequest, ScrapeRequests
from api.services import Opener, Provider, Services
from api.webhooks import ROUTES as WEBHOOKS
from beat_actors.database import Database
from beat_actors.logs import configure
from beat_actors.settings import load

SWITCH_SECONDS = 0.001
"""The longest time that a thread which decodes a large body keeps the interpreter, at each system call of the event loop. The default, 5 ms,
adds up to more than 100 ms in one call."""


def create_app(opener: Opener, provided: type[Provider] = Provider) -> App:
    """`opener` is called when the server starts, inside its event loop."""
    provider = provided(opener)
    application = App(middleware=[Counted(provider), StartOfCall(), provider, Gate(provider)])
    problems.install(application, lambda: application.resources)
    application.add_route("/v1/scrape-requests", ScrapeRequests(provider))
    application.add_route("/v1/scrape-requests/retry", RetryMatching(provider))
    application.add_route("/v1/scrape-requests/cancel", CancelMatching(provider))
    application.add_route("/v1/scrape-requests/{request_id}", ScrapeRequest(provider))
    application.add_route("/v1/scrape-requests/{request_id}/cancel", Cancel(provider))
    application.add_route("/v1/scrape-requests/{request_id}/retry", Retry(provider))
    application.add_route("/v1/scrape-requests/{request_id}/explain", Explain(provider))
    for path, found in data.routes(provider).items():
        application.add_route(path, found)
    application.add_route("/v1/grants", Grants(provider))
    application.add_route("/v1/accounts/{account}/grants", AccountGrants(provider))
    application.add_route("/v1/keys", Keys(provider))
    application.add_route("/v1/keys/{key}", Key(provider))
    application.add_route("/v1/keys/{key}/rotate", Rotation(provider))
    for path, resource in (BATCHES | ROUTES | WEBHOOKS).items():
        application.add_route(path, resource(provider))
    application.add_route("/v1/profiles/{platform}/{name}/refresh", Refresh(provider))
    application.add_route("/v1/limits", Limits(provider))
    application.add_route("/v1/forecast", Forecast(provider))
    application.add_route("/v1/limits/{name}/reset", LimitReset(provider))
    application.add_route("/assets/{public_id}", AssetPicture(provider))
    application.add_route("/metrics", MetricsPage(provider))
    application.add_route("/healthz", Healthz())
    application.add_route("/readyz", Readyz(provider))
    application.add_route("/openapi.json", Document(application.resources))
    for path, found in (docs.routes() | schemas.routes()).items():
        application.add_route(path, found)
    return application


def open_services() -> Services:
    """Open the services by the settings of the environment. Raises `BadSettings`."""
    settings = load("message_keys")
    configure(settings, service="api")
    sys.setswitchinterval(SWITCH_SECONDS)
    mailbox = Mailbox(settings)
    return Services(Database(settings, name="api"), mailbox.wake, mailbox.ping, mailbox.close, mailbox.want_variant)


app = create_app(open_services, Probed)
