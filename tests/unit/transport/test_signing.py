"""The signer makes the signatures that botocore makes, whatever is signed."""

import hashlib
import random
import re
import string
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import botocore.credentials
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from beat_actors.transport.signing import EMPTY, LONGEST, Credentials, Signer, path_of, query_of
from tests.extent import cases

REQUESTS = cases(1_000, 10_000)
ODD = string.ascii_letters + string.digits + " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\t" + "äß語🙂é\u0301\u200b\x7f"
HEADERS = (
    "content-type", "cache-control", "content-md5", "if-none-match", "range", "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-meta-of",
)  # fmt: skip
IN_HEADERS = string.ascii_letters + string.digits + ' "*=/;,-+.'
HOSTS = ("beat.s3.eu-central-1.amazonaws.com", "127.0.0.1:8333", "s3.example:9000", "s3.us-east-1.amazonaws.com")


def text(chance: random.Random, letters: str, longest: int, shortest: int = 0) -> str:
    return "".join(chance.choices(letters, k=chance.randint(shortest, longest)))


class Drawn:
    """A request to sign, with everything that varies."""

    def __init__(self, chance: random.Random) -> None:
        self.credentials = Credentials(
            text(chance, string.ascii_uppercase + string.digits, 20, 1),
            text(chance, string.ascii_letters + string.digits + "+/", 40, 1),
            text(chance, string.ascii_letters + "+/=", 200, 1) if chance.random() < 0.3 else None,
        )
        self.host, self.region = (
            chance.choice(HOSTS),
            chance.choice(("us-east-1", "eu-central-1", "auto", "cn-north-1")),
        )
        self.method = chance.choice(("GET", "PUT", "HEAD", "POST", "DELETE"))
        self.path = "/" + path_of(text(chance, ODD, 40))
        names = (
            "prefix",
            "list-type",
            "continuation-token",
            "uploads",
            "partNumber",
            text(chance, ODD, 8, 1),
            "part",
            "part-Number",
            "X",
        )
        self.query = [(name, text(chance, ODD, 20)) for name in chance.sample(names, chance.randint(0, 4))]
        self.headers = {
            name: text(chance, IN_HEADERS, 30, 1) for name in chance.sample(HEADERS, chance.randint(0, len(HEADERS)))
        }
        self.body = chance.randbytes(chance.choice((0, 0, 1, 17, 300)))
        self.now = chance.randint(1_000_000_000, 2_500_000_000)
        self.seconds = chance.randint(1, LONGEST)

    @property
    def theirs(self) -> botocore.credentials.Credentials:
        return botocore.credentials.Credentials(
            self.credentials.access_key, self.credentials.secret_key, self.credentials.token
        )

    @property
    def url(self) -> str:
        query = query_of(self.query)
        return f"https://{self.host}{self.path}" + (f"?{query}" if query else "")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that botocore takes: the last of the list."""
    times = [0.0]
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda *_, **__: datetime.fromtimestamp(times[-1], UTC).replace(tzinfo=None),
    )
    return times


@pytest.mark.scaled
def test_headers_are_signed_as_botocore_signs_them(at: list[float]) -> None:
    chance = random.Random(20261130)
    for _ in range(REQUESTS):
        drawn = Drawn(chance)
        at.append(drawn.now)
        digest = hashlib.sha256(drawn.body).hexdigest()
        request = AWSRequest(drawn.method, drawn.url, headers={**drawn.headers, "host": drawn.host}, data=drawn.body)
        request.context["payload_signing_enabled"] = True
        S3SigV4Auth(drawn.theirs, "s3", drawn.region).add_auth(request)
        ours = Signer(drawn.host, drawn.region).headers(
            drawn.credentials, drawn.method, drawn.path, query_of(drawn.query), drawn.headers, digest, drawn.now
        )
        theirs = {name.lower(): value for name, value in request.headers.items() if name.lower() != "host"}
        assert ours == theirs, drawn.url


@pytest.mark.scaled
def test_urls_are_signed_as_botocore_signs_them(at: list[float]) -> None:
    chance = random.Random(20261201)
    for _ in range(REQUESTS):
        drawn = Drawn(chance)
        at.append(drawn.now)
        request = AWSRequest("GET", f"https://{drawn.host}{drawn.path}", params=dict(drawn.query))
        # botocore takes a blank parameter of a URL for none; of `params` it keeps it.
        S3SigV4QueryAuth(drawn.theirs, "s3", drawn.region, expires=drawn.seconds).add_auth(request)
        ours = Signer(drawn.host, drawn.region).presigned(
            drawn.credentials, drawn.path, drawn.query, drawn.seconds, drawn.now
        )
        theirs = urlsplit(request.url).query
        assert sorted(parse_qsl(ours, keep_blank_values=True)) == sorted(parse_qsl(theirs, keep_blank_values=True))


def test_a_body_less_request_signs_the_hash_of_nothing_and_no_other_body() -> None:
    """botocore signs the hash of an empty body wherever it was not handed one, and the body may be sent nevertheless."""
    signer, credentials = Signer("h", "us-east-1"), Credentials("key", "secret")
    signed = [
        signer.headers(credentials, "PUT", "/b/k", "", {}, digest, 1e9)
        for digest in (EMPTY, hashlib.sha256(b"body").hexdigest())
    ]
    assert [each["x-amz-content-sha256"] for each in signed] == [EMPTY, hashlib.sha256(b"body").hexdigest()]
    assert signed[0]["authorization"] != signed[1]["authorization"]


def test_another_day_and_another_secret_have_another_key() -> None:
    signer = Signer("h", "us-east-1")

    def signature(secret: str, now: float) -> str:
        sent = signer.headers(Credentials("key", secret), "GET", "/", "", {}, EMPTY, now)
        return re.findall(r"Signature=(\w+)", sent["authorization"])[0]

    first = signature("one", 1e9)
    assert len({first, signature("one", 1e9 + 86_400), signature("two", 1e9)}) == 3
    assert signature("one", 1e9) == first


@pytest.mark.parametrize("seconds", [0, -1, LONGEST + 1])
def test_a_url_that_aws_would_refuse_is_not_made(seconds: int) -> None:
    with pytest.raises(ValueError, match="valid for 1 to 604800 seconds"):
        Signer("h", "us-east-1").presigned(Credentials("key", "secret"), "/k", [], seconds, 1e9)


def test_a_secret_is_not_shown() -> None:
    assert repr(Credentials("key", "s3cret", "t0ken")) == "Credentials(access_key='key')"
