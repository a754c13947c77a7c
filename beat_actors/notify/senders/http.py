"""Sinks that are reached over HTTP: where each kind is called, with which bodies and headers. Pure."""

import base64
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from beat_actors.notify.kinds import ALERTMANAGER, PAGERDUTY, SLACK, login
from beat_actors.notify.message import Message
from beat_actors.notify.senders import alertmanager, pagerduty, slack, webhook


class Call(NamedTuple):
    url: str
    body: bytes
    headers: dict[str, str]


def calls(kind: str, message: Message, secrets: Mapping[str, str]) -> list[Call]:
    """What is sent of a message, in order."""
    url, key = secrets["url"], secrets.get("key", "")
    headers = {"content-type": "application/json"}
    payloads: list[object]
    if kind == SLACK:
        payloads = [slack.payload(message)]
    elif kind == PAGERDUTY:
        payloads = [*pagerduty.test_payloads(message, key)] if message.test else [pagerduty.payload(message, key)]
    elif kind == ALERTMANAGER:
        payloads = [alertmanager.payload(message)]
        url, user = login(url)
        url = url.rstrip("/") + alertmanager.PATH
        if user is not None:
            headers["authorization"] = f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"
        elif key:
            headers["authorization"] = f"Bearer {key}"
    else:
        body = msgspec.json.encode(webhook.payload(message))
        return [Call(url, body, headers | webhook.headers(message, body, key))]
    return [Call(url, msgspec.json.encode(payload), headers) for payload in payloads]
