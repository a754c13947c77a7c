"""What a media URL says: which picture it leads to (`identity`), and when it stops working (`expiry`). No I/O, no clock.

CDNs sign their URLs, so the same picture has another URL in every answer. The tables below list the forms of the CDNs and object stores that
providers link to. A form is known by its parameters or by its path and never by the host, because CDNs serve one picture under many hosts.
"""

import binascii
import itertools
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import unquote

FURTHEST = 400 * 86_400.0
"""Seconds. No CDN signs a URL for longer. A later time is not a time of expiry."""
OLDEST = 30 * 86_400.0
"""Seconds. A provider may answer from a cache, with a URL that is dead already. An earlier time is not a time of expiry."""


class Form(NamedTuple):
    """A form of signed URLs in which only the path and few parameters (`names`) name the picture. `mark`, `other`: how the form is known."""

    mark: str
    other: str
    names: re.Pattern[str] | None = None


def _parameters(*names: str) -> re.Pattern[str]:
    return re.compile(rf"&((?:{'|'.join(names)})=[^&]+)")


# The first form of which both marks are there is used.
FORMS = (
    # Instagram, Threads and Facebook. `stp` is the variant: the size and what is cut off.
    Form("&oe=", "&oh=", _parameters("stp")),
    # TikTok: pictures, then videos. The path has the variant.
    Form("&x-expires=", "&x-signature="),
    Form("&tk=", "&signature="),
    # Google's servers of videos: one path for all videos.
    Form("&itag=", "&expire=", _parameters("id", "itag")),
    # YouTube's preview pictures.
    Form("&sqp=", "&rs="),
)
# In all other URLs each parameter names the picture, except these...
SIGNATURES = frozenset(
    [
        "signature",
        "oh",
        "oe",
        "sig",
        "sign",
        "hmac",
        "expire",
        "expires",
        "exp",
        "validfrom",
        "validto",
        "policy",
        "key-pair-id",
        "hash-algorithm",
        "awsaccesskeyid",
        "googleaccessid",
        "ossaccesskeyid",
        "accesskeyid",
        "security-token",
        "hdnts",
        "hdnea",
        "hdntl",
        "hdnetl",
        "__token__",
        "__gda__",
        "__cld_token__",
        "upsig",
        "auth_key",
        "token_path",
        "wssecret",
        "wstime",
        "txsecret",
        "txtime",
        "ig_cache_key",
    ]
)
SIGNATURE_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "q-", "_nc_", "utm_")
# ... and except signatures whose names mean something else where they stand alone: name, which others must stand there, and all that are no names then.
TOGETHER = (
    # Azure.
    (
        "sig",
        frozenset({"se"}),
        frozenset(
            [
                "sv",
                "st",
                "se",
                "sr",
                "sp",
                "spr",
                "sip",
                "ss",
                "srt",
                "sdd",
                "ses",
                "skoid",
                "sktid",
                "skt",
                "ske",
                "sks",
                "skv",
                "saoid",
                "suoid",
                "scid",
            ]
        ),
    ),
    # Facebook's pictures of profiles, its pictures of messages, Discord, LinkedIn, Weibo.
    ("hash", frozenset({"ext"}), frozenset({"ext", "hash"})),
    ("ext", frozenset({"signature"}), frozenset({"ext"})),
    ("hm", frozenset({"ex", "is"}), frozenset({"ex", "is", "hm"})),
    ("t", frozenset({"e", "v"}), frozenset({"e", "t"})),
    ("ssig", frozenset({"expires"}), frozenset({"ssig", "kid"})),
    # Bilibili, Bunny, servers with a secret of their own.
    ("upsig", frozenset({"deadline"}), frozenset({"deadline"})),
    ("token", frozenset({"expires"}), frozenset({"token"})),
    ("md5", frozenset({"expires"}), frozenset({"md5"})),
    ("st", frozenset({"e"}), frozenset({"st", "e"})),
)
TOGETHER_FIRST = frozenset(first for first, _, _ in TOGETHER)
HASH_OF_PATH = re.compile(r"s=(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})")
# Signatures that stand in front of the path: Instagram until 2019, TikTok's videos, Vimeo, Bunny.
SIGNED_PATH = re.compile(
    r"/vp/[0-9a-f]{32}/[0-9A-Fa-f]{8}(?=/)|/[0-9a-f]{32}/[0-9a-f]{8}(?=/video/)|/exp=[^/]*~[^/]*(?=/)|/bcdn_token=[^/]*(?=/)"
)
# Meta's names of files are unique. These directories say where a file lies; all others, as s150x150, say which variant it is.
FILE_OF_META = re.compile(r"[0-9]+_[0-9]+_[0-9]+_[a-z]\.[a-z0-9]+")
DIRECTORY_OF_META = re.compile(r"/(?:v|t[0-9]+\.[0-9]+-[0-9]+|[0-9a-f]{32}|[0-9A-Fa-f]{8})(?=/)")
# Google's servers of videos, where the parameters are in the path.
NAMES_IN_PATH = re.compile(r"/(?:id|itag)/[^/]+")
KEY_OF_META = re.compile(r"&ig_cache_key=([^&.]+)")


def identity(url: str) -> bytes:
    """16 bytes that are the same for two URLs of one picture in one size, whatever their hosts and signatures. Never raises."""
    path, query = _split(url)
    if signed := SIGNED_PATH.match(path):
        path = path[signed.end() :]
        query = "" if path.startswith("/video/") else query
    if "%" in path:
        path = unquote(path, errors="surrogateescape")
    if FILE_OF_META.fullmatch(path, path.rfind("/") + 1):
        path = DIRECTORY_OF_META.sub("", path)
    elif "ig_cache_key=" in query and (key := KEY_OF_META.search(f"&{query}")):
        path = key[1]
    elif path.startswith("/videoplayback/"):
        path = "".join(NAMES_IN_PATH.findall(path))
    if query and (named := _naming(query)):
        path = f"{path}?{named}"
    return blake2b(path.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def expiry(url: str, now: datetime) -> datetime | None:
    """When the URL stops working, as the URL itself says. `now`: when it was observed. Never raises.

    `None`: the URL does not say so, or it says a time that cannot be meant, as URLs do whose digits somebody replaced.
    """
    path, query = _split(url)
    times = list(_times(path, query))
    if not times:
        return None
    at = now.timestamp()
    found = [time for time in times if time is not None and at - OLDEST <= time <= at + FURTHEST]
    return datetime.fromtimestamp(min(found), UTC) if found else None


def _split(url: str) -> tuple[str, str]:
    """The path, with its first `/`, and the query. Both are empty where the URL is only a host."""
    start = url.find("//")
    start = url.find("/", start + 2) if start >= 0 else 0
    if start < 0:
        return "", ""
    path, _, query = url[start:].partition("#")[0].partition("?")
    return path, query


def _naming(query: str) -> str:
    """The parameters that name the picture, in one order."""
    behind = f"&{query}"
    for mark, other, named in FORMS:
        if mark in behind and other in behind:
            return "" if named is None else "&".join(sorted(named.findall(behind)))
    pairs = {pair: pair.partition("=")[0].lower() for pair in query.split("&")}
    signatures = SIGNATURES
    if not TOGETHER_FIRST.isdisjoint(pairs.values()):
        names = frozenset(pairs.values())
        for first, others, also in TOGETHER:
            if first in names and others <= names:
                signatures |= also
    kept = [
        pair
        for pair, name in pairs.items()
        if name not in signatures
        and not name.startswith(SIGNATURE_PREFIXES)
        and not (name == "s" and HASH_OF_PATH.fullmatch(pair))
    ]
    return "&".join(sorted(kept)) if len(kept) > 1 else "".join(kept)


Read = Callable[[str], float | None]


def _matching(pattern: str, base: int = 10) -> Read:
    """Reads seconds since 1970 from the first group of what matches the whole value."""
    form = re.compile(pattern)

    def read(value: str) -> float | None:
        found = form.fullmatch(value)
        return int(found[1], base) if found else None

    return read


def _iso(value: str) -> float | None:
    try:
        time = datetime.fromisoformat(unquote(value))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


LIMIT = re.compile(r'"DateLessThan"\s*:\s*\{\s*"AWS:EpochTime"\s*:\s*([0-9]{10})\s*\}')


def _policy(value: str) -> float | None:
    """The time limit in CloudFront's `Policy`: JSON in base64, with other signs for those that have a meaning in URLs."""
    try:
        policy = b64decode(unquote(value).translate(str.maketrans("-_~", "+=/")))
        limit = LIMIT.search(policy.decode())
    except (binascii.Error, ValueError):
        return None
    return int(limit[1]) if limit else None


DECIMAL, HEX = _matching("([0-9]{10})"), _matching("([0-9A-Fa-f]{8})", 16)
AKAMAI = _matching(r"(?:.*[~!])?exp=([0-9]{10})(?:[~!].*)?")
# How the value of a parameter is read. Names are in lower case.
TIMES: Mapping[str, Read] = {
    # Meta: oe, and ext of Facebook's pictures of profiles. Discord: ex. LinkedIn: e. TikTok: x-expires, expire.
    "oe": HEX,
    "ext": DECIMAL,
    "ex": HEX,
    "e": DECIMAL,
    "x-expires": DECIMAL,
    "expire": DECIMAL,
    # CloudFront, S3 and Google Cloud Storage (version 2), imgix, Bunny, Alibaba, Weibo.
    "expires": DECIMAL,
    "policy": _policy,
    "exp": DECIMAL,
    "validto": DECIMAL,
    "deadline": DECIMAL,
    # Azure, Akamai, Tencent.
    "se": _iso,
    **dict.fromkeys(("hdnts", "hdnea", "hdntl", "hdnetl", "__token__", "__cld_token__"), AKAMAI),
    "__gda__": _matching("([0-9]{10})_.*"),
    "q-sign-time": _matching("[0-9]{10}(?:;|%3[Bb])([0-9]{10})"),
}
# Signed at, and for how many seconds: AWS, Google and Alibaba, version 4.
SPANS = tuple((f"x-{store}-date", f"x-{store}-expires") for store in ("amz", "goog", "oss"))
TIMED = re.compile(f"&({'|'.join([*TIMES, *itertools.chain.from_iterable(SPANS)])})=([^&]*)", re.IGNORECASE)
TIME_IN_PATH = re.compile(
    r"/vp/[0-9a-f]{32}/(?P<meta>[0-9A-Fa-f]{8})/|/[0-9a-f]{32}/(?P<tiktok>[0-9a-f]{8})/video/"
    r"|/exp=(?P<vimeo>[0-9]{10})~|/bcdn_token=[^/]*&expires=(?P<bunny>[0-9]{10})|/videoplayback/(?:.*/)?expire/(?P<google>[0-9]{10})/"
)


def _times(path: str, query: str) -> Iterator[float | None]:
    given = {name.lower(): value for name, value in TIMED.findall(f"&{query}")}
    for name, value in given.items():
        if name in TIMES:
            yield TIMES[name](value)
    for began, lasts in SPANS:
        if began in given and lasts in given:
            yield _span(given[began], given[lasts])
    if found := TIME_IN_PATH.match(path):
        yield int(found[found.lastgroup or 0], 16 if found.lastgroup in ("meta", "tiktok") else 10)


def _span(began: str, lasts: str) -> float | None:
    if not re.fullmatch("[0-9]{1,8}", lasts):
        return None
    try:
        return datetime.strptime(began, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() + int(lasts)
    except ValueError:
        return None
