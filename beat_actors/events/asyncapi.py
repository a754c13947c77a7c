"""The AsyncAPI 3.1 document of the events that Beat sends: where they can be received, how a message looks there, and what its data are.

It describes the default names of exchanges, streams and subjects; an installation chooses in BEAT_EVENT_SINKS which of these places it has, and may name
them otherwise.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from beat_actors.events.catalog import EVENTS, EventType
from beat_actors.events.schemas import schema

VERSION = "3.1.0"
REF = "#/components/schemas/{name}"
ATTRIBUTES: Mapping[str, str] = {
    "specversion": "The version of CloudEvents: `1.0`.",
    "id": "The event: a UUID, the same for each resend and replay. Deduplicate by it.",
    "source": "The installation that the event comes from.",
    "type": "The type of the event.",
    "subject": "What the event is about. Events of one subject are sent in their order.",
    "time": "When it happened, RFC 3339.",
    "datacontenttype": "Always `application/json`.",
    "dataschema": "A URI of the schema of the data; its last segment is the major version.",
    "sequence": "The place of the event in the log of the source: 20 digits, so places compare as strings.",
    "accountid": "The account that the event belongs to, if it belongs to one.",
    "subjectversion": "The number of the event in the life of its subject, from 1, if the subject counts its events. Compare it as a number.",
    "replay": "`true` if an operator had the event sent once more.",
    "traceparent": "W3C Trace Context: the trace of the caller of the request that the event is of, to go on with. The extension Distributed Tracing of CloudEvents.",
    "dataref": "The path of the data in the API, in place of data that are larger than 64 KiB.",
}
"""What the attributes of an event mean."""
ALWAYS = ("specversion", "id", "source", "type", "subject", "time", "sequence")
SUMMARY = """Beat reports what happens to requests, data, credentials, sources and limits as CloudEvents 1.0.

Every event is sent at least once to each place; deduplicate by `id`. Events of one subject are sent in their order. The data of a type only get new optional
fields; any other change is a new major version. In structured mode, which a place can be set to, a message is the whole event as `application/cloudevents+json`
instead of attributes beside the data."""


def document(version: str) -> dict[str, Any]:
    """The document for this version of Beat."""
    logged = [event for event in EVENTS.values() if event.logged]
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Beat events",
            "version": version,
            "description": SUMMARY,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "rabbitmq": {
                "address": "{type}",
                "title": "An exchange of RabbitMQ",
                "description": "The routing key is the type of the event. Bind a queue with patterns such as `beat.scrape_request.*` or `#`.",
                "parameters": _types(logged),
                "messages": _messages(logged, "rabbitmq"),
                "bindings": {
                    "amqp": {
                        "is": "routingKey",
                        "exchange": {"name": "beat.dx", "type": "topic", "durable": True, "autoDelete": False},
                        "bindingVersion": "0.3.0",
                    }
                },
            },
            "redis": {
                "address": "beat:events",
                "title": "A stream of Redis",
                "description": "The id of an entry is `SEQUENCE-0`. Its fields are the attributes and `data`.",
                "messages": _messages(logged, "redis"),
            },
            "nats": {
                "address": "{type}",
                "title": "Subjects of NATS",
                "description": "The subject of a message is the type of the event. Subscribe to `beat.scrape_request.*` or `beat.>`.",
                "parameters": _types(logged),
                "messages": _messages(logged, "nats"),
            },
            "webhook": {
                "address": None,
                "title": "A webhook",
                "description": "The URL that a consumer registered with `POST /v1/webhooks`. The order of deliveries is not guaranteed.",
                "messages": {event.name: _webhook(event) for event in EVENTS.values()},
            },
        },
        "operations": {
            "sendToRabbitmq": _send("rabbitmq", "Publish events to an exchange of RabbitMQ."),
            "sendToRedis": _send("redis", "Add events to a stream of Redis."),
            "sendToNats": _send("nats", "Publish events to subjects of NATS."),
            "sendToWebhook": _send("webhook", "POST an event to a webhook.")
            | {"bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}}},
        },
        "components": {
            "schemas": _schemas(),
            "messageTraits": {
                "rabbitmq": _attributes("cloudEvents_", "Headers; `datacontenttype` is the property content-type."),
                "redis": _attributes("", "Fields of the entry, beside `data`."),
                "nats": _attributes(
                    "ce-",
                    "Headers with values in percent-encoding, as in HTTP; `datacontenttype` is the header content-type.",
                ),
                "webhook": SIGNED,
            },
        },
    }


SIGNED: dict[str, Any] = {
    "description": "Signed according to Standard Webhooks.",
    "headers": {
        "type": "object",
        "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
        "properties": {
            "webhook-id": {
                "type": "string",
                "description": "The event, the same for every attempt. Deduplicate by it.",
            },
            "webhook-timestamp": {"type": "string", "description": "The start of this attempt, in seconds since 1970."},
            "webhook-signature": {
                "type": "string",
                "description": "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, one for each valid secret, separated by spaces.",
            },
            "traceparent": {
                "type": "string",
                "description": "W3C Trace Context: the trace of the caller of the request that the event is of, to go on with. Missing if there is none. Not signed.",
            },
        },
    },
}


def _schemas() -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([event.payload for event in EVENTS.values()], ref_template=REF)
    return parts


def _types(events: Iterable[EventType]) -> dict[str, Any]:
    return {"type": {"description": "The type of the event.", "enum": [event.name for event in events]}}


def _messages(events: Iterable[EventType], trait: str) -> dict[str, Any]:
    return {event.name: _described(event) | {"payload": _payload(event), "traits": [_trait(trait)]} for event in events}


def _webhook(event: EventType) -> dict[str, Any]:
    shape = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": event.name, "description": ATTRIBUTES["type"]},
            "timestamp": {"type": "string", "format": "date-time", "description": ATTRIBUTES["time"]},
            "data": _payload(event),
        },
    }
    return _described(event) | {"payload": shape, "traits": [_trait("webhook")]}


def _described(event: EventType) -> dict[str, Any]:
    where = schema(event, event.major)["$id"]
    return {
        "name": event.name,
        "title": event.name,
        "summary": event.sent,
        "description": f"Subject: `{event.subject}`. Schema of the data: `{where}`.",
    }


def _payload(event: EventType) -> dict[str, str]:
    return {"$ref": REF.format(name=event.payload.__name__)}


def _trait(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/messageTraits/{name}"}


def _attributes(prefix: str, text: str) -> dict[str, Any]:
    """The trait of messages that carry their attributes beside the data."""
    return {
        "description": text,
        "headers": {
            "type": "object",
            "required": [f"{prefix}{name}" for name in ALWAYS],
            "properties": {
                f"{prefix}{name}": {"type": "string", "description": meaning}
                for name, meaning in ATTRIBUTES.items()
                if name != "datacontenttype" or not prefix
            },
        },
    }


def _send(channel: str, text: str) -> dict[str, Any]:
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}, "summary": text}
