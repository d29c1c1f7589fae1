"""Users' credentials: sealed at rest, opened for the adapters. The only module that reveals a secret.

A credential is encrypted with a fresh data key (AES-256-GCM), the data key with the master key of
a file that only its owner may read. Both seals are bound to user, venue and kind, so a blob moved
to another user opens for nobody (architecture 9). Where blobs are kept is the journal's business.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from otopilot.instrument import Venue

KINDS: Mapping[Venue, tuple[str, ...]] = {
    Venue.ALPHA: ("session",),
    Venue.SPOT: ("hmac", "ed25519", "rsa"),
}

_KEY_BYTES = 32
_NONCE_BYTES = 12
_WRAPPED_BYTES = _NONCE_BYTES + _KEY_BYTES + 16
_MAGIC = b"OTC1"
_MAX_SECRET_BYTES = 65536

# Headers of a captured request that describe that request and not its session (binance-alpha 3.1).
_DROPPED_HEADERS = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_API_KEY = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)


class CredentialError(Exception):
    """A credential or the master key cannot be used. The text never repeats a secret."""


class StoredCredential:
    """An opened credential, as the venue port describes it. Shows nothing and cannot be copied out."""

    __slots__ = ("_api_key", "_headers", "_kind", "_sign")

    def __init__(
        self, kind: str, headers: Mapping[str, str], api_key: str, sign: Callable[[bytes], str]
    ) -> None:
        self._kind = kind
        self._headers = MappingProxyType(dict(headers))
        self._api_key = api_key
        self._sign = sign

    @property
    def kind(self) -> str:
        """session, hmac, ed25519 or rsa."""
        return self._kind

    def headers(self) -> Mapping[str, str]:
        """Headers that authenticate a request; names in lower case."""
        return self._headers

    def api_key(self) -> str:
        """The API key; empty for a session."""
        return self._api_key

    def sign(self, payload: bytes) -> str:
        """The signature: hexadecimal for hmac, base64 for ed25519 and rsa (binance-spot 1.4)."""
        return self._sign(payload)

    def __repr__(self) -> str:
        return f"<{self._kind} credential>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential cannot be pickled or copied")


class Vault:
    """Seals and opens credentials with one master key."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise CredentialError(f"the master key has {len(master_key)} bytes instead of {_KEY_BYTES}")
        self._master = AESGCM(master_key)

    def __repr__(self) -> str:
        return "<credential vault>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault cannot be pickled or copied")

    @classmethod
    def of(cls, data_dir: Path) -> "Vault":
        """The vault of a data directory; its key file is made at first use. Raises CredentialError."""
        return cls(_master_key(data_dir / "keys" / "master.key"))

    def seal(self, user_id: str, venue: Venue, kind: str, secret_json: bytes) -> bytes:
        """Check a credential's shape and encrypt it. Raises CredentialError."""
        if not user_id:
            raise CredentialError("user_id: needed")
        if kind not in KINDS[venue]:
            raise CredentialError(f"kind: {venue} takes {' or '.join(KINDS[venue])}")
        fields = _fields(secret_json)
        _READERS[kind](fields)
        plain = json.dumps({"kind": kind, "secret": fields}, separators=(",", ":")).encode()
        data_key = AESGCM.generate_key(_KEY_BYTES * 8)
        bound = _bound_to(user_id, venue)
        nonce, key_nonce = secrets.token_bytes(_NONCE_BYTES), secrets.token_bytes(_NONCE_BYTES)
        wrapped = key_nonce + self._master.encrypt(key_nonce, data_key, b"data key\0" + bound)
        return _MAGIC + wrapped + nonce + AESGCM(data_key).encrypt(nonce, plain, b"secret\0" + bound)

    def open(self, user_id: str, venue: Venue, blob: bytes) -> StoredCredential:
        """The credential in a blob that was sealed for this user and venue. Raises CredentialError."""
        rest = blob.removeprefix(_MAGIC)
        if rest == blob or len(rest) < _WRAPPED_BYTES + _NONCE_BYTES + 16:
            raise CredentialError(f"user {user_id}: the stored credential is damaged")
        wrapped, sealed = rest[:_WRAPPED_BYTES], rest[_WRAPPED_BYTES:]
        bound = _bound_to(user_id, venue)
        try:
            data_key = self._master.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], b"data key\0" + bound
            )
            plain = AESGCM(data_key).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], b"secret\0" + bound
            )
        except InvalidTag:
            raise CredentialError(
                f"user {user_id}: the stored credential was sealed with another key, "
                "for another user or venue, or is damaged"
            ) from None
        content = json.loads(plain)
        return _READERS[content["kind"]](content["secret"])


def _bound_to(user_id: str, venue: Venue) -> bytes:
    return venue.value.encode() + b"\0" + user_id.encode()


# ------------------------------------------------------------------ shapes


def _fields(secret_json: bytes) -> dict[str, Any]:
    if len(secret_json) > _MAX_SECRET_BYTES:
        raise CredentialError(f"secret: larger than {_MAX_SECRET_BYTES} bytes")
    try:
        fields = json.loads(secret_json)
    except (ValueError, RecursionError):
        # The cause is dropped: a JSON error quotes the document.
        raise CredentialError("secret: not JSON") from None
    if not isinstance(fields, dict):
        raise CredentialError("secret: a JSON object is wanted")
    return fields


def _text(fields: Mapping[str, Any], name: str, allowed: Mapping[str, Any]) -> str:
    if len(fields) != len(allowed) or any(key not in allowed for key in fields):
        raise CredentialError(f"secret: exactly {' and '.join(allowed)} are wanted")
    value = fields[name]
    if not isinstance(value, str) or not value:
        raise CredentialError(f"secret: {name} must be a text that is not empty")
    return value


def _api_key(fields: Mapping[str, Any], other: str) -> str:
    key = _text(fields, "api_key", {"api_key": None, other: None})
    if not _API_KEY.fullmatch(key):
        raise CredentialError("secret: api_key has blanks or characters that no key has")
    return key


def _session(fields: Mapping[str, Any]) -> StoredCredential:
    given = fields.get("headers")
    if len(fields) != 1 or not isinstance(given, dict):
        raise CredentialError('secret: a session is {"headers": {"cookie": ..., "csrftoken": ...}}')
    headers: dict[str, str] = {}
    for raw_name, value in given.items():
        name = raw_name.strip().lower()
        if name.startswith(":") or name in _DROPPED_HEADERS:
            continue
        if not _HEADER_NAME.fullmatch(name) or name in headers:
            raise CredentialError("secret: headers has a name that is no header name, or one twice")
        if not isinstance(value, str) or not value.isprintable():
            raise CredentialError(f"secret: header {name} must be one line of text")
        headers[name] = value
    for name in ("cookie", "csrftoken"):
        if not headers.get(name, "").strip():
            raise CredentialError(f"secret: header {name} is missing")
    headers.setdefault("clienttype", "web")
    return StoredCredential("session", headers, "", _sign_nothing)


def _hmac(fields: Mapping[str, Any]) -> StoredCredential:
    api_key = _api_key(fields, "secret")
    secret = _text(fields, "secret", {"api_key": None, "secret": None}).encode()

    def sign(payload: bytes) -> str:
        return hmac.new(secret, payload, hashlib.sha256).hexdigest()

    return StoredCredential("hmac", {"x-mbx-apikey": api_key}, api_key, sign)


def _ed25519(fields: Mapping[str, Any]) -> StoredCredential:
    api_key, key = _api_key(fields, "private_key"), _private_key(fields)
    if not isinstance(key, Ed25519PrivateKey):
        raise CredentialError("secret: private_key is not an Ed25519 key")

    def sign(payload: bytes) -> str:
        return base64.b64encode(key.sign(payload)).decode()

    return StoredCredential("ed25519", {"x-mbx-apikey": api_key}, api_key, sign)


def _rsa(fields: Mapping[str, Any]) -> StoredCredential:
    api_key, key = _api_key(fields, "private_key"), _private_key(fields)
    if not isinstance(key, RSAPrivateKey) or key.key_size < 2048:
        raise CredentialError("secret: private_key is not an RSA key of at least 2048 bits")

    def sign(payload: bytes) -> str:
        return base64.b64encode(key.sign(payload, PKCS1v15(), hashes.SHA256())).decode()

    return StoredCredential("rsa", {"x-mbx-apikey": api_key}, api_key, sign)


def _private_key(fields: Mapping[str, Any]) -> object:
    pem = _text(fields, "private_key", {"api_key": None, "private_key": None})
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise CredentialError("secret: private_key is encrypted; store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        # The cause is dropped: its text may quote the key.
        raise CredentialError("secret: private_key is not a PEM private key") from None


def _sign_nothing(_: bytes) -> NoReturn:
    raise CredentialError("a session does not sign")


_READERS: Mapping[str, Callable[[Mapping[str, Any]], StoredCredential]] = {
    "session": _session,
    "hmac": _hmac,
    "ed25519": _ed25519,
    "rsa": _rsa,
}


# ------------------------------------------------------------------ the master key


def _master_key(path: Path) -> bytes:
    try:
        if not os.path.lexists(path):
            _make_key(path)
        return _read_key(path)
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror or type(error).__name__}") from error


def _make_key(path: Path) -> None:
    """Write the key beside its place and link it there: it is never seen half written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            return  # another process was first; its key is the key
    finally:
        fresh.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_key(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
            raise CredentialError(f"{path}: must be a regular file of the user this service runs as")
        if facts.st_mode & 0o077:
            mode = stat.S_IMODE(facts.st_mode)
            raise CredentialError(f"{path}: others may use it (mode {mode:04o}); make it 0600")
        key = file.read(_KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise CredentialError(f"{path}: a key of {_KEY_BYTES} bytes is wanted; this is not one")
    return key
