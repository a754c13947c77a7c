"""Slack's incoming webhooks, and what understands them: Mattermost, Rocket.Chat, Discord under `/slack`. Pure."""

from typing import Any

from beat_actors.notify.message import SHOWN, Message, Told, details, headline, shortened, summary, title

COLOURS = {"critical": "#b91c1c", "warning": "#d97706", "info": "#2563eb"}
RESOLVED = "#15803d"
MOST_ATTACHMENTS = SHOWN
"""Slack recommends at most 20."""
LONGEST_TEXT = 3000


def payload(message: Message) -> dict[str, Any]:
    """The body of the call. Text of providers cannot mention people or make links, because its signs are escaped."""
    text = f"*{escaped(title(message))}*\n{escaped(summary(message))}"
    if message.link is not None:
        text += f"\n<{message.link}|All alerts>"
    shown = [*message.firing, *message.resolved][:MOST_ATTACHMENTS]
    found: dict[str, Any] = {"text": text, "attachments": [_attachment(message, one) for one in shown]}
    hidden = len(message.alerts) - len(shown)
    if hidden > 0:
        found["attachments"].append(
            {"fallback": f"{hidden} more alerts", "text": f"{hidden:,} more alerts: `beat alerts`"}
        )
    return found


def _attachment(message: Message, one: Told) -> dict[str, Any]:
    lines = [f"*{name}* {escaped(said)}" for name, said in details(message, one)]
    return {
        "fallback": escaped(shortened(headline(one), 300)),
        "color": COLOURS.get(one.severity, COLOURS["info"]) if one.resolved_at is None else RESOLVED,
        "title": escaped(shortened(headline(one), 300)),
        "text": shortened("\n".join(lines), LONGEST_TEXT),
        "mrkdwn_in": ["text"],
        "ts": int((one.resolved_at or one.opened_at).timestamp()),
    }


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
