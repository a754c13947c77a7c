"""/v1/scorecard: how well each source serves each operation."""

from falcon.asgi import Request, Response

from api.calls import Call, Calls, up_to
from api.operations.reasons import READ
from api.parameters import whole
from api.replies import send
from api.resource import Resource
from beat_actors.scores import card


class Scorecard(Resource):
    """GET: sources by operation and week, and in which order chains would cost the fewest calls."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "Get how well each source served each operation, by week: success, completeness, time, cost. With the best order of each chain.",
            {200: card.Scorecard},
            query={"weeks": up_to(card.LONGEST, least=1), "platform": str},
            named="get_scorecard",
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        weeks = whole(req, "weeks", default=4, most=card.LONGEST)
        send(
            resp,
            await card.scorecard(self._provider.services.database, weeks=weeks, platform=req.get_param("platform")),
        )
