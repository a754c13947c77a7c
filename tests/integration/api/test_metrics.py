"""GET /metrics: who gets it, in which format, and what the API counts of itself."""

import falcon.testing

from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.database.reporting import Reporter
from beat_actors.observe.families import FAMILIES
from tests.integration.api.conftest import Keys, bearer
from tests.integration.observe.scraped import OPEN, PLAIN, families, of, samples, scrape


async def test_a_key_with_the_scope_metrics_gets_every_family_in_both_formats(
    bare: falcon.testing.ASGIConductor, new_key: Keys
) -> None:
    key = bearer(await new_key(Scope.METRICS))
    for accept, media in (("*/*", PLAIN), ("application/openmetrics-text; version=1.0.0", OPEN)):
        answer = await bare.simulate_get("/metrics", headers={**key, "Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, media)
        names = {one.name.removesuffix("_total") for one in families(answer.text, media)}
        assert names == {name.removesuffix("_total") for name in FAMILIES}


async def test_other_keys_do_not(bare: falcon.testing.ASGIConductor, new_key: Keys) -> None:
    assert (await bare.simulate_get("/metrics")).status_code == 401
    for scope in (Scope.READ, Scope.SUBMIT):
        refused = await bare.simulate_get("/metrics", headers=bearer(await new_key(scope)))
        assert refused.status_code == 403
        assert 'scope="metrics"' in refused.headers["www-authenticate"]
    assert (await bare.simulate_get("/metrics", headers=bearer(await new_key(Scope.OPERATE)))).status_code == 200
    only = bearer(await new_key(Scope.METRICS))
    assert (await bare.simulate_get("/v1/alerts", headers=only)).status_code == 403


async def test_calls_are_counted_by_route_and_never_by_path(
    bare: falcon.testing.ASGIConductor, new_key: Keys, database: Database
) -> None:
    key = bearer(await new_key(Scope.READ, rate_limit=3))
    for n in range(4):
        await bare.simulate_get(f"/v1/scrape-requests/{n + 1}", headers=key)
    await bare.simulate_get("/v1/no-such-thing")
    await bare.simulate_request("BREW", "/v1/alerts")
    services = bare.app.resources["/metrics"]._provider.services
    await Reporter(services.database, name="api").report()
    found = samples(await scrape(database))
    route = {"route": "/v1/scrape-requests/{request_id}", "method": "GET"}
    assert of(found, "beat_api_requests_total", **route, status="404") == 3
    assert of(found, "beat_api_requests_total", **route, status="429") == 1
    assert of(found, "beat_api_refusals_total", code="too_many_calls") == 1
    assert of(found, "beat_api_requests_total", route="other", status="404") == 1
    assert of(found, "beat_api_request_duration_seconds_count", method="GET") == 5
