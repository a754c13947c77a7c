"""/metrics: the metrics of the whole installation, and what the API counts of its own calls."""

import time

from falcon.asgi import Request, Response
from falcon.constants import HTTP_METHODS

from api.access import Scopes
from api.calls import Call, Calls
from api.resource import Resource
from api.services import Provider
from beat_actors.access.scopes import Scope
from beat_actors.observe.exposition import OPEN, PLAIN, content_type
from beat_actors.observe.families import API_REQUESTS, API_SECONDS, REFUSED

OTHER = "other"
"""The route of a path that no route has, and a method that HTTP does not have."""


class MetricsPage(Resource):
    """GET: the metrics, for Prometheus. Any process of the API answers for the whole installation."""

    scopes: Scopes = {"GET": Scope.METRICS}
    calls: Calls = {
        "GET": Call(
            "Get the metrics of the installation, as Prometheus or OpenMetrics text.",
            {200: None},
            headers={"Accept": "`application/openmetrics-text` for OpenMetrics; else the text format of Prometheus."},
            media={200: (PLAIN.partition(";")[0], OPEN.partition(";")[0])},
            named="get_metrics",
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        media = content_type(req.get_header("Accept"))
        resp.text = await self._provider.services.metrics.text(media)
        resp.content_type = media
        resp.set_header("Vary", "Accept")


class Counted:
    """Falcon middleware that counts each call by its route. It comes before all others, so that it counts what they refuse as well."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def process_request(self, req: Request, _resp: Response) -> None:
        req.context.began = time.perf_counter()

    async def process_response(self, req: Request, resp: Response, _resource: object, _succeeded: bool) -> None:
        counts = self._provider.counts
        if counts is None:
            return
        method = req.method if req.method in HTTP_METHODS else OTHER
        status = resp.status_code
        counts.add(API_REQUESTS, req.uri_template or OTHER, method, str(status))
        counts.observe(API_SECONDS, method, value=time.perf_counter() - req.context.began)
        if status == 429:
            counts.add(REFUSED, getattr(req.context, "problem", OTHER))
