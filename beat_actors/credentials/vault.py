"""Provider secrets at rest: AES-256-GCM under a key ring, bound to the credential that they belong to.

The associated data is credential id and source, so that a ciphertext copied to another row does not open. The first key of
the ring seals; every key opens, which is what makes rotation possible while calls go on.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from functools import cached_property
from typing import NoReturn

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from beat_actors.errors import VaultError, VaultKeyMissing
from beat_actors.settings import Settings

NONCE = 12


class Revealed(Mapping[str, str]):
    """An opened secret. It can be read field by field; it cannot be printed, logged, pickled or encoded."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<secret: {', '.join(sorted(self._fields))}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not leave the process")


class Vault:
    """Of a process without BEAT_VAULT_KEYS it opens and seals nothing: what would raises `SecretMissing`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Fingerprints must not change with the sealing key, or a duplicate would pass after a rotation. They come from the
        # credential's own entropy: a secret is long and random, so its digest tells nothing.
        self._pepper = b"beat credential fingerprint"
        self._proven: set[str] = set()

    @cached_property
    def _keys(self) -> dict[str, AESGCM]:
        return {key_id: AESGCM(key) for key_id, key in self._settings.key_ring("vault_keys").items()}

    @property
    def sealing_key_id(self) -> str:
        return next(iter(self._keys))

    @property
    def key_ids(self) -> list[str]:
        """The keys that this process holds. Raises `SecretMissing`."""
        return list(self._keys)

    def require(self) -> None:
        """Raises `SecretMissing`, before anything is claimed that could not be done."""
        self._settings.key_ring("vault_keys")

    @property
    def sealing_fingerprint(self) -> str:
        """The key that seals, as processes register it. Raises `SecretMissing`."""
        fingerprints = self._settings.fingerprints("vault_keys")
        return fingerprints[0] if fingerprints else self.sealing_key_id

    def has_opened(self, key_id: str) -> bool:
        """Whether a key has opened anything in this process, so that it is the right one."""
        return key_id in self._proven

    def fingerprint(self, source: str, secret: Mapping[str, str]) -> bytes:
        """The same for the same secret of the same source: how a duplicate is noticed without opening anything."""
        text = msgspec.json.encode([source, sorted(secret.items())])
        return hmac.digest(self._pepper, text, hashlib.sha256)

    def seal(self, credential_id: int, source: str, secret: Mapping[str, str]) -> tuple[str, bytes]:
        """The key's id, and nonce + ciphertext."""
        nonce = os.urandom(NONCE)
        plain = msgspec.json.encode(dict(secret))
        cipher = self._keys[self.sealing_key_id]
        return self.sealing_key_id, nonce + cipher.encrypt(nonce, plain, _bound_to(credential_id, source))

    def open(self, credential_id: int, source: str, key_id: str, sealed: bytes) -> Revealed:
        """Raises `VaultKeyMissing` where the key is not in the ring, and `VaultError` where the ciphertext is not this credential's."""
        cipher = self._keys.get(key_id)
        if cipher is None:
            raise VaultKeyMissing(
                f"credential {credential_id} is sealed with key {key_id!r}, which BEAT_VAULT_KEYS does not hold; add it back"
            )
        try:
            plain = cipher.decrypt(sealed[:NONCE], sealed[NONCE:], _bound_to(credential_id, source))
        except InvalidTag:
            raise VaultError(
                f"the secret of credential {credential_id} does not open: it is another credential's, was changed, "
                f"or key {key_id!r} is not the key it was sealed with"
            ) from None
        self._proven.add(key_id)
        return Revealed(msgspec.json.decode(plain, type=dict[str, str]))


def _bound_to(credential_id: int, source: str) -> bytes:
    return f"{credential_id}:{source}".encode()
