"""URLs that CloudFront signs for, checked as CloudFront checks them: with the public key and the policy that it makes of the URL."""

from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from beat_actors.assets.serving.cloudfront import STEP, SignedPlaces, places_of
from beat_actors.assets.serving.places import Places
from beat_actors.errors import BadSettings
from beat_actors.settings import Settings

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CONTENT = bytes(range(32))


def pem(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()), "ascii")


def configured(**values: Any) -> Settings:
    return Settings.model_validate(
        {
            "database_url": "postgresql://localhost/beat",
            "redis_url": "redis://localhost",
            "asset_base_url": "https://d111.cloudfront.net/media",
            "asset_cloudfront_key_id": "K2JCJMDEHXQW5F",
            "asset_cloudfront_key": pem(PRIVATE),
            "asset_cloudfront_seconds": 7200,
            **values,
        }
    )


def verified(url: str) -> int:
    """When the URL stops working. Raises `InvalidSignature`."""
    parts = urlsplit(url)
    given = parse_qs(parts.query, strict_parsing=True)
    assert set(given) == {"Expires", "Signature", "Key-Pair-Id"}
    plain, expires = url.partition("?")[0], int(given["Expires"][0])
    policy = f'{{"Statement":[{{"Resource":"{plain}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}'
    signature = b64decode(given["Signature"][0].translate(str.maketrans("-_~", "+=/")))
    PRIVATE.public_key().verify(signature, policy.encode(), padding.PKCS1v15(), hashes.SHA1())
    return expires


@pytest.mark.parametrize("text", [pem(PRIVATE), pem(PRIVATE).replace("\n", "\\n")])
def test_s7_3_cloudfront_takes_the_url(text: str) -> None:
    places = SignedPlaces(configured(asset_cloudfront_key=text), clock=lambda: 1_800_000_000.0)
    url = places.url_of(CONTENT)
    assert url is not None
    assert url.startswith(f"https://d111.cloudfront.net/media/00/01/{CONTENT.hex()}?Expires=")
    assert 7200 <= verified(url) - 1_800_000_000 <= 7200 + STEP
    with pytest.raises(InvalidSignature):
        verified(url.replace("/00/01/", "/00/02/"))


def test_a_url_stays_the_same_for_a_while_and_is_signed_anew_afterwards() -> None:
    now = [1_800_000_000.0]
    places = SignedPlaces(configured(), clock=lambda: now[0])
    first = places.url_of(CONTENT)
    now[0] = 1_800_000_000.0 // STEP * STEP + STEP - 1
    assert places.url_of(CONTENT) == first
    now[0] += 1
    later = places.url_of(CONTENT)
    assert first is not None
    assert later is not None
    assert verified(later) == verified(first) + STEP


def test_without_a_base_url_nothing_is_signed() -> None:
    assert places_of(configured(asset_base_url=None)).url_of(CONTENT) is None


def test_without_a_key_urls_are_plain() -> None:
    places = places_of(configured(asset_cloudfront_key=None, asset_cloudfront_key_id=None))
    assert type(places) is Places
    assert places.url_of(CONTENT) == f"https://d111.cloudfront.net/media/00/01/{CONTENT.hex()}"


@pytest.mark.parametrize("text", ["", "no key", pem(ec.generate_private_key(ec.SECP256R1()))])
def test_what_is_no_private_rsa_key_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(BadSettings, match="is no private RSA key") as refused:
        places_of(configured(asset_cloudfront_key=text))
    assert not text or text[:20] not in str(refused.value)


def test_an_id_without_its_key_is_refused() -> None:
    with pytest.raises(ValueError, match="set both"):
        configured(asset_cloudfront_key=None)
