"""A person's login at Facebook: a token of 60 days, and the Instagram business account that it may use.

source: Meta's guides to the manual login flow and to long-lived tokens, and the reference of `/me/accounts`.
"""

from urllib.parse import urlencode

from beat_actors.platforms.interface import Answer, Call, Login, LoginStep
from beat_actors.platforms.logins import Known, LoginRefused, granted, text_of

PAGE = "https://www.facebook.com/dialog/oauth"
SCOPES = ("instagram_basic", "instagram_manage_insights", "pages_show_list", "pages_read_engagement")
MOST = 20
"""Accounts that a refusal names."""


def authorize(known: Known) -> str:
    query = {
        "client_id": known["client_id"],
        "redirect_uri": known["redirect_uri"],
        "response_type": "code",
        "scope": ",".join(SCOPES),
        "state": known["state"],
    }
    return f"{PAGE}?{urlencode(query)}"


def exchange(known: Known) -> Call:
    query = {"client_id": known["client_id"], "redirect_uri": known["redirect_uri"]}
    secret = {"client_secret": known["client_secret"], "code": known["code"]}
    return Call("/oauth/access_token", query=query, secret_query=secret)


def prolong(known: Known) -> Call:
    query = {"grant_type": "fb_exchange_token", "client_id": known["client_id"]}
    secret = {"client_secret": known["client_secret"], "fb_exchange_token": known["token"]}
    return Call("/oauth/access_token", query=query, secret_query=secret)


def read_token(answer: Answer, _known: Known) -> Known:
    return {"token": text_of(granted(answer), "access_token")}


def accounts(known: Known) -> Call:
    query = {"fields": "name,instagram_business_account{id,username}", "limit": "100"}
    return Call("/me/accounts", query=query, secret_query={"access_token": known["token"]})


def read_accounts(answer: Answer, known: Known) -> Known:
    """The account that was named, or the only one."""
    pages = granted(answer).get("data")
    found: dict[str, str] = {}
    for page in pages if isinstance(pages, list) else []:
        account = page.get("instagram_business_account") if isinstance(page, dict) else None
        if isinstance(account, dict) and isinstance(account.get("id"), str):
            found[account["id"]] = str(account.get("username") or "")
    wanted = known.get("user_id")
    if wanted in found:
        return {"user_id": str(wanted)}
    if not found:
        raise LoginRefused(
            "no page of this login has an Instagram business account; connect one to a page, and allow that page at the login"
        )
    if wanted is None and len(found) == 1:
        return {"user_id": next(iter(found))}
    named = ", ".join(f"{number} ({name})" for number, name in list(found.items())[:MOST])
    raise LoginRefused(f"this login has the accounts {named}; begin again, and give user_id, which names one of them")


LOGIN = Login(
    asks=("client_id", "client_secret"),
    optional=("user_id",),
    authorize=authorize,
    steps=(
        LoginStep(exchange, read_token),
        LoginStep(prolong, read_token),
        LoginStep(accounts, read_accounts),
    ),
    secret=("token", "user_id"),
    scopes=SCOPES,
)
