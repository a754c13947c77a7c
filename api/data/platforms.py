"""/v1/platforms: what can be asked for."""

from falcon.asgi import Request, Response

from api.access import Scopes
from api.calls import Call, Calls, answer
from api.data.kinds import READ
from api.replies import send
from api.resource import Resource
from beat_actors.data import catalog
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.registry import platforms


class Platforms(Resource):
    """GET: all platforms with their flows and parameters, operations and chains, and entities."""

    scopes: Scopes = READ
    calls: Calls = {
        "GET": Call(
            "List the platforms with their flows, parameters and kinds of data.",
            {200: answer("PlatformList", platforms=list[catalog.PlatformView])},
        )
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"platforms": [catalog.view(platform) for platform in platforms().values()]})


class OnePlatform(Resource):
    """GET: one platform."""

    scopes: Scopes = READ
    calls: Calls = {
        "GET": Call("Get a platform with its flows, parameters and kinds of data.", {200: catalog.PlatformView})
    }

    async def on_get(self, _req: Request, resp: Response, platform: str) -> None:
        send(resp, catalog.view(platform_named(platform)))
