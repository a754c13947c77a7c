"""URLs that CloudFront signs for: with a canned policy, which allows one object until a time."""

import math
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from beat_actors.assets.serving.places import Places
from beat_actors.errors import BadSettings
from beat_actors.settings import Settings

STEP = 3600
"""Seconds within which the URL of an object stays the same, so that an answer has the same ETag, and CPU is spent once."""
MOST_KEPT = 20_000
"""Signed URLs that a process keeps."""


def places_of(settings: Settings) -> Places:
    """Where readers get content, as the settings say. Raises `BadSettings`."""
    return Places(settings) if settings.asset_cloudfront_key_id is None else SignedPlaces(settings)


def policy_of(url: str, expires: int) -> bytes:
    """The canned policy that is signed. CloudFront makes the same text of the URL, so it has no blanks."""
    return f'{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}'.encode()


class SignedPlaces(Places):
    """The signed URLs of stored content. `clock`: seconds since 1970. Raises `BadSettings` for what is no private RSA key."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        super().__init__(settings)
        key, key_id = settings.asset_cloudfront_key, settings.asset_cloudfront_key_id
        if key is None or key_id is None:
            raise BadSettings(
                "no key for CloudFront is set: set BEAT_ASSET_CLOUDFRONT_KEY_ID and BEAT_ASSET_CLOUDFRONT_KEY"
            )
        self._key, self._key_id = _private_key(key.get_secret_value()), key_id
        self._seconds, self._clock = settings.asset_cloudfront_seconds, clock
        self._kept: OrderedDict[bytes, tuple[int, str]] = OrderedDict()

    def url_of(self, content: bytes) -> str | None:
        """A signature takes 0.3 ms; it is used again for an hour."""
        url = super().url_of(content)
        if url is None:
            return None
        expires = (math.floor(self._clock() / STEP) + 1) * STEP + self._seconds
        kept = self._kept.get(content)
        if kept is None or kept[0] != expires:
            kept = (expires, self._signed(url, expires))
            self._kept[content] = kept
        self._kept.move_to_end(content)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return kept[1]

    def _signed(self, url: str, expires: int) -> str:
        # CloudFront takes no other hash with a canned policy.
        signature = self._key.sign(policy_of(url, expires), padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
        text = b64encode(signature).decode().translate(str.maketrans("+=/", "-_~"))
        return f"{url}?Expires={expires}&Signature={text}&Key-Pair-Id={self._key_id}"


def _private_key(pem: str) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadSettings(
            "BEAT_ASSET_CLOUDFRONT_KEY is no private RSA key in PEM without a passphrase: set the key that belongs to BEAT_ASSET_CLOUDFRONT_KEY_ID"
        )
    return key
