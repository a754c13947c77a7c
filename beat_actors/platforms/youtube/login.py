"""A person's login at Google, which gives the grant that `ytapi` refreshes its tokens with.

source: Google's guide to OAuth for desktop apps. `prompt=consent` brings a refresh token also where the person agreed before.
"""

from urllib.parse import urlencode

from beat_actors.platforms.interface import Answer, Call, Login, LoginStep
from beat_actors.platforms.logins import Known, granted, text_of

PAGE = "https://accounts.google.com/o/oauth2/v2/auth"
TOKENS = "https://oauth2.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/youtube.readonly", "https://www.googleapis.com/auth/yt-analytics.readonly")


def authorize(known: Known) -> str:
    query = {
        "client_id": known["client_id"],
        "redirect_uri": known["redirect_uri"],
        "response_type": "code",
        "scope": " ".join(SCOPES),
        "access_type": "offline",
        "prompt": "consent",
        "state": known["state"],
        "code_challenge": known["challenge"],
        "code_challenge_method": "S256",
    }
    return f"{PAGE}?{urlencode(query)}"


def exchange(known: Known) -> Call:
    form = {
        "grant_type": "authorization_code",
        "code": known["code"],
        "code_verifier": known["verifier"],
        "client_id": known["client_id"],
        "client_secret": known["client_secret"],
        "redirect_uri": known["redirect_uri"],
    }
    return Call("/token", method="POST", form=form, base=TOKENS)


def read(answer: Answer, _known: Known) -> Known:
    return {"refresh_token": text_of(granted(answer), "refresh_token")}


LOGIN = Login(
    asks=("client_id", "client_secret"),
    authorize=authorize,
    steps=(LoginStep(exchange, read),),
    secret=("client_id", "client_secret", "refresh_token"),
    scopes=SCOPES,
)
