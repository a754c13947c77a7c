"""In which columns personal data is, whom it concerns, by what it is found, and which setting ends its time.

`places()` is one list for people and for code: what platforms declare of their entities (`Personal`), and the engine's own tables.
`docs/privacy.md` is written from it, and whatever erases or exports a person's data goes through it. A test compares it with the schema, so a table without an entry is an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from beat_actors.platforms.registry import platforms

ENTITY, LOG, REQUEST, RAW = "BEAT_ENTITY_DAYS", "BEAT_LOG_DAYS", "BEAT_REQUEST_DAYS", "BEAT_RAW_PAYLOAD_DAYS"
BY_REQUEST = "BEAT_REQUEST_DAYS after its request ended"
KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Place:
    """Columns of a table that hold personal data.

    `subject`: the columns by which a person is found, each holding an id or a handle; empty where a person is found only through another
    table. `account`, `store`: the columns that name the customer's account, and the store or other owner of the credential. `until`: the
    setting after which a row goes, or why it stays. `partitioned`: rows go by whole days. `entity`: a platform declares the table.
    """

    table: str
    columns: tuple[str, ...]
    kind: str
    until: str
    subject: tuple[str, ...] = ()
    account: str | None = None
    store: str | None = None
    partitioned: bool = False
    entity: bool = False


ENGINE = (
    Place("asset_log", ("entity_key", "url", "stored_url", "parent_key", "account_id"), "URLs of an entity's media, and the account that had it observed", f"{ENTITY}, with the entity", (), "account_id", "owner"),
    Place("asset_usage", ("account_id",), "the account whose media were stored", "92 days", (), "account_id"),
    Place("asset_denied", ("subject", "actor", "reason"), "who had the media of a subject removed; the subject is a hash", KEPT, ("actor",)),
    Place("profile_log", ("profile_id", "dimensions"), "profiles as they were at each observation", LOG, ("profile_id",), "account_id", "owner", True),
    Place("post_log", ("post_id", "dimensions"), "posts as they were at each observation", LOG, (), "account_id", "owner", True),
    Place("change_log", ("keys", "account_id", "owner"), "keys of changed entities", LOG, ("keys",), "account_id", "owner", True),
    Place("trace_log", ("url", "detail"), "handles in URLs; 300 characters of a provider's refusal", LOG, partitioned=True),
    Place("raw_payload", ("body",), "a provider's answer, reduced as its source declares", RAW, partitioned=True),
    Place("request_batch", ("account_id", "cancel_reason"), "the account that submitted a batch", f"{REQUEST} after its end", (), "account_id"),
    Place("request_tag", ("account_id",), "the account that set a tag; the tag is a hash", "with its request", (), "account_id"),
    Place("restored_payload", ("body",), "a raw payload that was read from the bucket for a replay", "a day, or until it is parsed"),
    Place("scrape_request_log", ("params", "data", "work_data", "tags", "account_id", "idempotency_key"), "requested handles, and the requesting account", f"{REQUEST} after its end", (), "account_id"),
    Place("scrape_fetch", ("params", "cursor", "listing", "records", "error", "owner", "tenant"), "handles, and the requesting account; parsed records that are not yet written", BY_REQUEST, (), None, "owner"),
    Place("settlement", ("detail", "facts"), "texts of a provider, for some seconds", "the next dispatch cycle"),
    Place("event", ("subject", "data", "account_id", "owner"), "handles in events, and keys of changed entities", LOG, (), "account_id", "owner", True),
    Place("restore_item", ("key", "before", "after", "account_id"), "entities that a restore changed, before and after", f"{REQUEST} after the restore ended", ("key",), "account_id", "owner"),
    Place("restore_job", ("selection", "actor", "reason", "summary"), "operators' names and reasons, and the handle that a restore was asked for", f"{REQUEST} after it ended", ("actor",)),
    Place("entity_base", ("key", "fields", "account_id"), "the last good state of entities that are not observed any more", ENTITY, ("key",), "account_id", "owner"),
    Place("entity_check", ("key", "examples", "last", "account_id"), "keys of entities that differ from their log", "until the next check", ("key",), "account_id", "owner"),
    Place("log_retention", ("key", "account_id"), "the entity that the retention of a log has reached", "until the day is done", ("key",), "account_id", "owner"),
    Place("event_pending", ("account_id",), "the account that an event is about", "until it has its place in the log", (), "account_id"),
    Place("event_log", ("account_id",), "the account that an event is about", LOG, (), "account_id"),
    Place("event_parked", ("subject", "reason"), "the subject of an event that a sink did not take", "until it was sent or given up"),
    Place("event_replay", ("subject", "reason", "error"), "operators' reasons", REQUEST),
    Place("outbox_event", ("subject", "data"), "handles in events", REQUEST),
    Place("webhook_delivery", ("data", "error"), "handles in events", LOG),
    Place("webhook_endpoint", ("url", "account_id", "last_error"), "an account's address for events", "until it is removed", (), "account_id"),
    Place("notify_sink", ("name", "target", "recipients", "sender", "last_error"), "operators' mail addresses; what a sink of notifications answered", "until it is removed"),
    Place("notification", ("error",), "what a sink of notifications answered", LOG),
    Place("quarantine", ("error", "detail"), "unreadable values with their path", f"{REQUEST} after it was resolved"),
    Place("held_record", ("key", "record", "said", "good", "witnesses", "question", "account_id", "decided_by"), "a record that has to be confirmed before it is written, and what sources say of it", f"{REQUEST} after it was decided", ("key",), "account_id", "owner"),
    Place("audit_log", ("actor", "target", "detail"), "operators' names, reasons, ids of changed objects", KEPT, ("actor",)),
    Place("credential", ("label", "owner", "check_detail", "dead_reason", "disabled_reason", "denials"), "the owner of a credential", "until it is removed", (), None, "owner"),
    Place("credential_event", ("cause",), "operators' names and reasons", REQUEST),
    Place("api_key", ("name", "account_id"), "the holder of an API key", KEPT, ("name",), "account_id"),
    Place("owner_grant", ("account_id", "owner", "granted_by"), "which account may use which owner's credentials, and who granted it", "until it is revoked", ("granted_by",), "account_id", "owner"),
    Place("owner_breaker", ("owner",), "the owner whose calls failed", "until calls succeed again", (), None, "owner"),
    Place("lane", ("owner",), "the owner whose credential fetches wait for", KEPT, (), None, "owner"),
    Place("served_tenant", ("tenant",), "the account that was served last", "until the next account is served", (), "tenant"),
    Place("erasure", ("identifiers", "subject", "actor", "reason"), "the person whom a running erasure is about; operators' names and reasons", "kept; whom it was about is forgotten at its end", ("actor",)),
    Place("erasure_thing", ("key",), "keys of the things of a person whom a running erasure is about", "until the erasure ends"),
    Place("alert", ("key", "cause", "impact", "action"), "the name of the store or account that an alert is about", f"{REQUEST} after it was resolved"),
)  # fmt: skip

NOTHING_PERSONAL = {
    "archived_payload": "places in objects, and cursors",
    "payload_object": "keys of objects",
    "absence": "digests of what was asked for, and that it is missing or private",
    "alembic_version": "the schema's revision",
    "asset_check": "directions",
    "asset_object": "media types of objects",
    "asset_variant": "media types of objects",
    "breaker": "sources and operations",
    "budget": "sources and their limits",
    "call_total": "sources, operations and outcomes",
    "broker_decision": "numbers of credentials and dispatch groups",
    "data_refresh": "digests of what was asked for",
    "code_start": "hosts, versions, and numbers of settings",
    "credential_call": "numbers of credentials",
    "credential_usage": "numbers of credentials",
    "event_sink": "hosts and names of sinks",
    "flow_setting": "flows",
    "leader": "hosts",
    "limit_forecast": "limits on on-demand requests",
    "limit_level": "limits on on-demand requests",
    "limit_usage": "limits on on-demand requests",
    "metric_sum": "names of metrics and their labels",
    "notification_told": "rules and sources",
    "process": "hosts",
    "process_left": "names of metrics and their labels",
    "parser_build": "versions, platforms, sources and operations",
    "smaller_page": "digests of what was asked for",
    "refusal": "sources, operations and their codes",
    "schema_compatibility": "the schema's revision",
    "trust_cohort": "sources and operations",
    "source_score": "sources and operations",
    "sweep": "jobs",
    "tombstone": "keyed hashes of the ids and names of erased persons",
    "tombstone_key": "the key of these hashes",
    "webhook_test": "numbers of keys and accounts",
}
"""Tables with text that hold nothing personal, and what the text is."""


OTHER_COLUMNS = frozenset(
    [
        "content",
        "trace",
        "content_identity",
        "shape",
        "empty",
        "hidden",
        "older",
        "identity",
        "parent_kind",
        "failure",
        "sink",
        "trouble",
        "types",
        "source",
        "platform",
        "post_id",
        "operation",
        "recent",
        "opened_by",
        "covers",
        "process",
        "source_name",
        "unreached",
        "shortcode",
        "comment_id",
        "owner",
        "state",
        "kind",
        "outcome",
        "post_type",
        "parent_id",
        "metric",
        "breakdown",
        "period",
        "insight_id",
        "privacy_status",
        "language",
        "currency",
        "status",
        "counts",
        "position",
        "waits_for",
        "metrics",
        "code",
        "flow",
        "type",
        "key_id",
        "secret",
        "scopes",
        "category",
        "account_type",
        "carousel_id",
        "graph_id",
        "media_type",
        "story_id",
        "timeframe",
        "music_title",
        "music_id",
        "region",
        "uploads_playlist_id",
        "audio_language",
        "category_id",
        "broadcast",
        "fulfillment_status",
        "financial_status",
        "plan",
        "timezone",
        "entity",
        "field",
        "method",
        "next_cursor",
        "accepted_as",
        "idempotency_owner",
        "idempotency_digest",
        "work",
        "stage",
        "unreadable",
        "excluded",
        "waiting_for",
        "cursor_source",
        "old_secret",
        "events",
        "old_key_id",
        "path",
        "action",
        "fingerprint",
        "check_outcome",
        "denied",
        "prefix",
        "hash",
        "sources",
        "reasons",
        "automatic",
        "token",
        "fields",
        "kept",
        "log",
        "told",
        "severity",
        "asks",
        "asked",
        "why",
        "fields",
        "trust",
        "trust_reasons",
        "cause",
        "platforms",
        "hours",
        "days",
        "group_by",
        "group_key",
    ]
)
"""Names of text columns that hold ids of things, states, sealed or hashed secrets, or words of Beat, in whatever table of the list."""


class How(StrEnum):
    """What becomes of the rows of a table that name the person."""

    DELETED = "deleted"
    REDACTED = "redacted"
    PAYLOAD = "deleted, also from the bucket"
    KEPT = "kept: it is a customer's or an operator's"


PAYLOADS = ("raw_payload", "restored_payload", "archived_payload")
CUSTOMERS_OWN = ("erasure", "erasure_thing", "asset_usage", "request_tag", "api_key", "owner_grant", "owner_breaker", "lane", "served_tenant", "event_pending", "event_log")  # fmt: skip
"""Tables that name accounts, owners of credentials and operators. `request_tag` has hashes, which go with the tag of their request."""
DELETED = ("scrape_fetch", "asset_log", "post_log")
"""Rows that go, although no column alone says whose they are."""
OPERATORS = ("audit_log", "change_log", "asset_denied")
"""Tables whose column `subject` names operators, or several persons."""


def how(place: Place) -> How:
    """What an erasure does with the rows of a place."""
    if place.table in PAYLOADS:
        return How.PAYLOAD
    if place.table in CUSTOMERS_OWN:
        return How.KEPT
    if place.entity or place.table in DELETED or (place.subject and place.table not in OPERATORS):
        return How.DELETED
    return How.REDACTED


def places() -> list[Place]:
    """All of them: those of the platforms' entities, as they are declared, and the engine's own."""
    found = []
    for _, platform in sorted(platforms().items()):
        for entity in platform.entities:
            if entity.personal is not None and entity.personal.fields:
                store = "store" if "store" in entity.record.__struct_fields__ else "owner"
                found.append(
                    Place(
                        table=entity.table,
                        columns=entity.personal.fields,
                        kind=entity.personal.what,
                        until=ENTITY,
                        subject=entity.personal.subject,
                        account="account_id",
                        store=store,
                        entity=True,
                    )
                )
    return [*found, *ENGINE]


def table() -> str:
    """The list as a Markdown table."""
    return "\n".join(
        ("| table | content | columns | found by | retention | erasure |", "|---|---|---|---|---|---|", *_rows())
    )


def _rows() -> Iterator[str]:
    for place in places():
        found = [f"`{name}`" for name in (*place.subject, *filter(None, (place.account, place.store)))]
        columns = ", ".join(f"`{name}`" for name in place.columns)
        until = f"`{place.until}`" if place.until.startswith("BEAT_") and " " not in place.until else place.until
        yield f"| `{place.table}` | {place.kind} | {columns} | {', '.join(dict.fromkeys(found)) or 'its request'} | {until} | {how(place).value} |"
