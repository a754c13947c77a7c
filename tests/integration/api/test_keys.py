"""/v1/keys: what the command line can, over HTTP, in the name of the key that asks."""

from typing import Any

from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from tests.in_one import in_one
from tests.integration.api.conftest import Keys, bearer

ROUTE = "/v1/keys"


async def records(database: Database) -> list[tuple[str, str, str]]:
    async with database.transaction() as transaction:
        found = await transaction.rows("SELECT actor, action, target FROM audit_log WHERE actor <> 'test' ORDER BY id")
    return [tuple(row) for row in found]


async def test_a_key_that_is_made_works_until_it_is_revoked(bare, database: Database, new_key: Keys) -> None:
    admin = await new_key(Scope.ADMIN)
    headers = bearer(admin)
    wanted = {"name": "feeder", "scopes": ["read"], "account_id": "acme", "rate_limit": 60, "expires_in": 3600}
    made = await bare.simulate_post(ROUTE, json=wanted, headers=headers)
    assert made.status_code == 201
    own = {"Authorization": f"Bearer {made.json['key']}"}
    assert (await bare.simulate_get("/v1/scrape-requests", headers=own)).headers["ratelimit-limit"] == "60"
    assert (await bare.simulate_get(ROUTE, headers=own)).status_code == 403
    listed = await bare.simulate_get(ROUTE, headers=headers)
    (found,) = [key for key in listed.json["keys"] if key["id"] == made.json["id"]]
    assert (found["state"], found["account_id"], found["scopes"]) == ("active", "acme", ["read"])
    assert made.json["key"] not in listed.text
    successor = (await bare.simulate_post(f"{ROUTE}/{found['prefix']}/rotate?grace=60", headers=headers)).json
    assert (successor["before"]["id"], successor["key"] != made.json["key"]) == (found["id"], True)
    gone = await bare.simulate_delete(f"{ROUTE}/{successor['id']}?reason=left", headers=headers)
    assert gone.json == {"id": successor["id"], "revoked": True, "was_alive": True, "webhooks_paused": []}
    other = {"Authorization": f"Bearer {successor['key']}"}
    assert (await bare.simulate_get("/v1/scrape-requests", headers=other)).status_code == 401
    assert await records(database) == [
        (f"key:{admin.id}", "key.create", f"key/{found['id']}"),
        (f"key:{admin.id}", "key.rotate", f"key/{found['id']}"),
        (f"key:{admin.id}", "key.revoke", f"key/{successor['id']}"),
    ]


@in_one(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"name": "x"}, 400),
        ("POST", "", {"name": "x", "scopes": []}, 400),
        ("POST", "", {"name": "x", "scopes": ["root"]}, 400),
        ("POST", "", {"name": "x", "scopes": ["admin"], "account_id": "acme"}, 400),
        ("POST", "", {"name": "x", "scopes": ["read"], "expires_in": 0}, 400),
        ("POST", "", {"name": "x", "scopes": ["read"], "expires_in": 10**12}, 400),
        ("POST", "", {"name": "x", "scopes": ["read"], "hash": "00"}, 400),
        ("POST", "", {"name": "x\u202e", "scopes": ["read"]}, 400),
        ("POST", "", [], 400),
        ("DELETE", "/1", None, 400),  # no reason
        ("DELETE", "/1?reason=%00", None, 400),
        ("DELETE", "/%00?reason=x", None, 400),
        ("DELETE", "/4711?reason=x", None, 404),
        ("POST", "/4711/rotate", None, 404),
        ("POST", "/1/rotate?grace=-1", None, 400),
    ],
)
async def test_what_cannot_be_done_is_a_problem_and_not_done(
    api, database: Database, method: str, path: str, body: Any, status: int
) -> None:
    answer = await api.simulate_request(method, ROUTE + path, **({} if body is None else {"json": body}))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert await records(database) == []
