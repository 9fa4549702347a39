"""Notes that are encrypted here: docs/encrypted-notes.md describes the format, version 1."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import Damaged, Incomplete

CONTEXT = b"microsite note 1"
KEY_BYTES, NONCE_BYTES, CHECK_BYTES = 32, 12, 4


@dataclass(frozen=True)
class Sealed:
    """What the site gets of a note, and the fragment that it must not get."""

    ciphertext: str
    proof_hash: str
    fragment: str


def encrypt(note: str) -> Sealed:
    """Encrypt a note under a new key."""
    key, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    sealed = nonce + AESGCM(_derived(key, b"content")).encrypt(nonce, note.encode(), CONTEXT)
    proof_hash = hashlib.sha256(proof_of(key).encode()).hexdigest()
    return Sealed(_encode(sealed), proof_hash, _encode(key + _check(key)))


def decrypt(ciphertext: str, key: bytes) -> str:
    """The note. Raises Damaged when the key is not its own or the text was changed."""
    try:
        sealed = _decode(ciphertext)
        opened = AESGCM(_derived(key, b"content")).decrypt(
            sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], CONTEXT
        )
        return opened.decode()
    except (InvalidTag, ValueError):
        raise Damaged("The note does not decrypt: it was changed on its way.") from None


def key_of(fragment: str) -> bytes:
    """The key in a fragment. Raises Incomplete, so that nothing is asked of the site with half a link."""
    try:
        found = _decode(fragment)
    except ValueError:
        found = b""
    key = found[:KEY_BYTES]
    if len(found) != KEY_BYTES + CHECK_BYTES or found[KEY_BYTES:] != _check(key):
        raise Incomplete(
            "This link is incomplete: a part of it was cut off on its way. Ask for the whole of it."
        )
    return key


def proof_of(key: bytes) -> str:
    """The value that shows that its holder has the key."""
    return _encode(_derived(key, b"proof"))


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=CONTEXT + b" " + purpose).derive(key)


def _check(key: bytes) -> bytes:
    return hashlib.sha256(CONTEXT + key).digest()[:CHECK_BYTES]


def _encode(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(word: str) -> bytes:
    return urlsafe_b64decode(word.encode("ascii") + b"=" * (-len(word) % 4))
