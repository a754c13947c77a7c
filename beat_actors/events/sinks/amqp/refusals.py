"""What the server says when it refuses, as troubles and sentences for operators."""

from pamqp import commands

from beat_actors.events.sink import Refusal, Trouble
from beat_actors.events.sinks.amqp.address import Address

MOST_TEXT = 300
"""Characters of the server's own words that are passed on."""
TROUBLES = {
    311: Trouble.INVALID,  # CONTENT_TOO_LARGE
    402: Trouble.AUTH,  # INVALID_PATH: no such virtual host
    403: Trouble.AUTH,  # ACCESS_REFUSED
    404: Trouble.UNROUTABLE,  # NOT_FOUND: the exchange was deleted
    406: Trouble.INVALID,  # PRECONDITION_FAILED: a message over the server's `max_message_size`
    506: Trouble.FULL,  # RESOURCE_ERROR
    530: Trouble.AUTH,  # NOT_ALLOWED: the virtual host does not exist, or is not for this login
}
"""By AMQP's reply codes. All others, such as 320 when the server stops, end a connection like a broken one."""
WORDS = {
    Trouble.AUTH: "refuses the login, or what the login may do",
    Trouble.UNROUTABLE: "has no exchange of that name any more",
    Trouble.INVALID: "refuses what was sent, or what was declared",
    Trouble.FULL: "has no resources left",
}


def closed(address: Address, method: commands.Connection.Close | commands.Channel.Close) -> Refusal:
    """Why the server has closed a connection or a channel."""
    trouble = TROUBLES.get(method.reply_code or 0, Trouble.UNREACHABLE)
    what = WORDS.get(trouble, "has closed the connection")
    text = said(address, method.reply_text or "")
    return Refusal(
        trouble, f"RabbitMQ at {address.name} {what} (exchange {address.exchange}): {method.reply_code} {text}"
    )


def unreachable(address: Address, what: str) -> Refusal:
    """`what`: the rest of a sentence that begins with RabbitMQ."""
    return Refusal(Trouble.UNREACHABLE, f"RabbitMQ at {address.name} {what}.")


def said(address: Address, text: str) -> str:
    """The server's words: printable, short, and without the password, whatever the server repeats."""
    if address.password:
        text = text.replace(address.password, "***")
    return "".join(character if character.isprintable() else " " for character in text[:MOST_TEXT])
