"""A merchant's login, which installs an app in the store and gives its token.

source: Shopify's guide to the authorization code grant. The token of this grant has no end.
"""

from urllib.parse import urlencode

from beat_actors.errors import BadInput
from beat_actors.platforms.interface import Answer, Call, Login, LoginStep
from beat_actors.platforms.logins import Known, granted, text_of
from beat_actors.platforms.shopify.stores import domain

SCOPES = ("read_orders", "read_products", "read_customers")


def authorize(known: Known) -> str:
    query = {
        "client_id": known["client_id"],
        "scope": ",".join(SCOPES),
        "redirect_uri": known["redirect_uri"],
        "state": known["state"],
    }
    return f"https://{_store(known)}/admin/oauth/authorize?{urlencode(query)}"


def exchange(known: Known) -> Call:
    form = {name: known[name] for name in ("client_id", "client_secret", "code")}
    return Call("/oauth/access_token", method="POST", form=form, base=f"https://{_store(known)}/admin")


def read(answer: Answer, known: Known) -> Known:
    return {"token": text_of(granted(answer), "access_token"), "shop": _store(known)}


def _store(known: Known) -> str:
    try:
        return domain(known["shop"])
    except ValueError as error:
        raise BadInput(str(error), field="shop") from None


LOGIN = Login(
    asks=("shop", "client_id", "client_secret"),
    authorize=authorize,
    steps=(LoginStep(exchange, read),),
    secret=("shop", "token"),
    scopes=SCOPES,
)
