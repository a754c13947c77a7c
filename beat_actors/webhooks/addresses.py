"""Which URLs can be an endpoint. The address that one leads to is judged when it is connected to (`transport/guard`)."""

from urllib.parse import urlsplit

from beat_actors.errors import BadInput
from beat_actors.text import check_text
from beat_actors.transport.guard import WEB, literal

LONGEST = 2000


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises `BadInput` for what cannot be an endpoint."""
    check_text(url, "url", longest=LONGEST, one_line=True)
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        raise BadInput("url is not a URL; give one such as https://example.com/hooks", field="url") from None
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or not port_fits or " " in url:
        wider = "" if allow_private else "; BEAT_WEBHOOK_ALLOW_PRIVATE=true also allows http and private addresses"
        raise BadInput(
            f"url must be an {' or '.join(schemes)} URL with a host, such as https://example.com/hooks{wider}",
            field="url",
        )
    if parts.port not in (None, *WEB) and not allow_private:
        raise BadInput(
            f"url names the port {parts.port}; the web's are 443 and 80, and BEAT_WEBHOOK_ALLOW_PRIVATE allows others",
            field="url",
        )
    if parts.username is not None or parts.fragment:
        raise BadInput("url cannot hold a user, a password or a fragment; the signature says who calls", field="url")
    if literal(parts.hostname) is False and not allow_private:
        raise BadInput(
            "url names an address that is not public; give a public one, or set BEAT_WEBHOOK_ALLOW_PRIVATE where all "
            "who may add endpoints may also reach the network that Beat runs in",
            field="url",
        )
