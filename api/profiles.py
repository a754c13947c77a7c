"""/v1/profiles: what is known of a profile, and how fresh it is."""

from falcon.asgi import Request, Response

from api.access import Scopes, caller_of
from api.scrape_requests import send, whole
from api.services import Provider
from beat_actors.access.scopes import Scope
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests import queries
from beat_actors.text import check_text


class Profile:
    scopes: Scopes = {"GET": Scope.READ}

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def on_get(self, req: Request, resp: Response, platform: str, handle: str) -> None:
        check_text(handle, "handle", longest=255, one_line=True)
        found = platform_named(platform)
        posts = whole(req, "posts", default=0, most=200)
        async with self._provider.services.database.transaction() as transaction:
            account = caller_of(req).account_id
            send(resp, await queries.get_profile(transaction, found, handle, posts=posts, account_id=account))
