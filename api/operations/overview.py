"""/v1/overview: the whole installation at a moment."""

from falcon.asgi import Request, Response

from api.calls import Call, Calls
from api.operations.reasons import READ
from api.replies import send
from api.resource import Resource
from beat_actors.observe.overview import overview
from beat_actors.observe.picture import Picture


class Overview(Resource):
    """GET: rates, sources with their credentials, what waits and why, sinks, processes and open alerts."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Show the whole installation at this moment: rates, sources, waiting work, sinks, processes and alerts.",
            {200: Picture},
            named="get_overview",
        )
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, await overview(self._provider.services.database))
