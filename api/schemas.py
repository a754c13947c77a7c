"""/schemas and /asyncapi.json: what the events that Beat sends contain. They are made of the event types once, for callers without a key."""

from functools import cached_property
from importlib.metadata import version
from typing import Any

import msgspec
from falcon.asgi import Request, Response

from api.access import OPEN, Scopes
from api.calls import Call, Calls, answer
from api.data.answers import IF_NONE_MATCH
from api.fixed import Fixed
from beat_actors.errors import NotFound
from beat_actors.events import asyncapi
from beat_actors.events.catalog import EVENTS
from beat_actors.events.schemas import schemas

JSON = "application/json"


class EventSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A schema of event data. `sent`: when an event of the type is sent. `subject`: the form of its subject. `current`: its data are those that are
    sent now. `location`: the path of the schema."""

    type: str
    major: int
    sent: str
    subject: str
    current: bool
    location: str


class SchemaList:
    """GET: every type of event, with where its schemas are."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {
        "GET": Call(
            "List the types of events and the schemas of their data.",
            {200: answer("EventSchemaList", schemas=list[EventSchema]), 304: None},
            headers=IF_NONE_MATCH,
            named="list_event_schemas",
        )
    }

    @cached_property
    def _made(self) -> Fixed:
        listed = [
            EventSchema(
                type=name,
                major=major,
                sent=EVENTS[name].sent,
                subject=EVENTS[name].subject,
                current=major == EVENTS[name].major,
                location=made["$id"],
            )
            for (name, major), made in schemas().items()
        ]
        return Fixed.of(msgspec.json.encode({"schemas": listed}), JSON)

    async def on_get(self, req: Request, resp: Response) -> None:
        self._made.send(req, resp)


class Schema:
    """GET: the JSON Schema of the data of a type's major version."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {
        "GET": Call(
            "Get the JSON Schema of the data of a type of event.",
            {200: answer("JsonSchema", title=str, type=str, properties=dict), 304: None},
            headers=IF_NONE_MATCH,
            named="get_event_schema",
        )
    }

    @cached_property
    def _made(self) -> dict[tuple[str, str], Fixed]:
        return {
            (name, str(major)): Fixed.of(msgspec.json.encode(made), JSON) for (name, major), made in schemas().items()
        }

    async def on_get(self, req: Request, resp: Response, event_type: str, major: str) -> None:
        found = self._made.get((event_type, major))
        if found is None:
            raise NotFound("there is no such type or version of events; GET /schemas lists those that there are")
        found.send(req, resp)


class AsyncApiDocument:
    """GET: the AsyncAPI document."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {
        "GET": Call(
            "Get the AsyncAPI document of the events that Beat sends.",
            {200: answer("AsyncApiDocument", asyncapi=str, info=dict, channels=dict), 304: None},
            headers=IF_NONE_MATCH,
            named="get_asyncapi_document",
        )
    }

    @cached_property
    def _made(self) -> Fixed:
        return Fixed.of(msgspec.json.encode(asyncapi.document(version("beat-actors"))), JSON)

    async def on_get(self, req: Request, resp: Response) -> None:
        self._made.send(req, resp)


def routes() -> dict[str, Any]:
    """The resource of each path."""
    return {
        "/schemas": SchemaList(),
        "/schemas/{event_type}/{major}": Schema(),
        "/asyncapi.json": AsyncApiDocument(),
    }
