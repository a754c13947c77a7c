"""A log of what nobody foresaw names the route and not the path, which may hold a handle."""

import falcon.testing
import structlog.testing

from api import problems
from api.front import Front


class Broken:
    async def on_get(self, _req: falcon.asgi.Request, _resp: falcon.asgi.Response, handle: str) -> None:
        raise RuntimeError("out of order")


async def test_an_unexpected_error_is_logged_without_the_handle() -> None:
    app = Front()
    problems.install(app, lambda: ())
    app.add_route("/v1/profiles/{handle}", Broken())
    async with falcon.testing.ASGIConductor(app) as conductor:
        with structlog.testing.capture_logs() as logs:
            answered = await conductor.simulate_get("/v1/profiles/somebody")
    assert answered.status_code == 500
    (line,) = [each for each in logs if each["event"] == "unexpected"]
    assert line["route"] == "/v1/profiles/{handle}"
    assert "somebody" not in str({**line, "exc_info": None})
    assert answered.json["detail"].count(line["incident"]) == 1
