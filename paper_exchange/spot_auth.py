"""Who calls, whether the call is fresh, and whether its signature holds (binance-spot 1.3 to 1.5).

The signed bytes come from the surfaces exactly as the client sent them; nothing is re-encoded
here. Public keys are parsed once and kept by API key.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Literal
from urllib.parse import unquote_plus

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from paper_exchange.accounts import Accounts
from paper_exchange.model import Account
from paper_exchange.spot_errors import SpotError, bad_key, illegal, too_late
from paper_exchange.spot_params import MICROS_FROM, WHOLE, Params

KeyKind = Literal["hmac", "ed25519", "rsa"]
PublicKey = Ed25519PublicKey | RSAPublicKey

RECV_WINDOW_MS = Decimal(5000)
LONGEST_RECV_WINDOW_MS = 60_000
AHEAD_MS = 1000
_API_KEY = re.compile("[a-zA-Z0-9]{64}")
_RECV_WINDOW = r"^([0-9]{1,20})(\.[0-9]{1,3})?$"
_KEYS: dict[KeyKind, type[PublicKey]] = {"ed25519": Ed25519PublicKey, "rsa": RSAPublicKey}


class Claim(msgspec.Struct, frozen=True):
    """What a call brings to prove itself. `session`: the account a WS API session logged on as."""

    api_key: str = ""
    signature: str = ""
    payload: bytes = b""
    session: Account | None = None


def signed_part(part: str) -> str:
    """A raw query or body without its signature."""
    return "&".join(pair for pair in part.split("&") if not pair.startswith("signature="))


def signature_in(parts: Iterable[str]) -> str:
    """The signature in raw queries and bodies, decoded."""
    for part in parts:
        for pair in part.split("&"):
            if pair.startswith("signature="):
                return unquote_plus(pair.removeprefix("signature="))
    return ""


def read_public_key(kind: KeyKind, pem: str) -> PublicKey:
    """The key in a PEM text; ValueError if it is not one of this kind."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"public_key: not a PEM public key: {error}") from error
    if isinstance(key, Ed25519PublicKey | RSAPublicKey) and isinstance(key, _KEYS[kind]):
        return key
    raise ValueError(f"public_key: not of kind {kind}")


class SpotAuth:
    """Checks claims against the accounts' keys."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._parsed: dict[str, PublicKey] = {}

    def owner(self, claim: Claim, *, trades: bool = False) -> Account:
        """The account a claim names, before anything is proven; `trades`: the key must be one that may."""
        if claim.session is not None and not claim.api_key:
            return self._allowed(claim.session, trades)
        if not _API_KEY.fullmatch(claim.api_key):
            raise SpotError(-2014, "API-key format invalid.")
        account = self._accounts.by_secret(claim.api_key)
        if account is None or account.venue != "spot":
            raise bad_key()
        return self._allowed(account, trades)

    def _allowed(self, account: Account, trades: bool) -> Account:
        if trades and not account.key_trades:
            raise bad_key()
        return account

    def authenticate(self, claim: Claim, params: Params, now_ms: int, *, held: bool, trades: bool) -> Account:
        """The account whose key signed this. A held call has passed the test of its time already:
        what it waits for is the engine, which no recvWindow covers."""
        account = self.owner(claim, trades=trades)
        params.skip("apiKey", "signature")
        self._check_time(params, now_ms, held=held)
        if claim.session is account and not claim.api_key:
            return account
        params.need("signature")
        if not self._holds(account, claim):
            raise SpotError(-1022, "Signature for this request is not valid.")
        return account

    def _check_time(self, params: Params, now_ms: int, *, held: bool) -> None:
        raw = params.need("timestamp")
        if not re.fullmatch(WHOLE, raw):
            raise illegal("timestamp", WHOLE)
        window = params.text("recvWindow", str(RECV_WINDOW_MS))
        if not re.fullmatch(_RECV_WINDOW, window):
            raise illegal("recvWindow", _RECV_WINDOW)
        if Decimal(window) > LONGEST_RECV_WINDOW_MS:
            raise SpotError(-1131, "recvWindow must be less than 60000.")  # the text is not documented
        sent = Decimal(raw) / 1000 if int(raw) >= MICROS_FROM else Decimal(raw)
        if held:
            return
        if sent >= now_ms + AHEAD_MS:
            raise SpotError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now_ms - sent > Decimal(window):
            raise too_late()

    def is_late(self, params: Params, at_ms: int) -> bool:
        """Whether a call whose time was in order at the door has outlived its recvWindow by then."""
        sent, window = int(params.peek("timestamp")), params.peek("recvWindow") or RECV_WINDOW_MS
        return at_ms - (Decimal(sent) / 1000 if sent >= MICROS_FROM else sent) > Decimal(window)

    def _holds(self, account: Account, claim: Claim) -> bool:
        credential = account.credential
        if credential.get("kind", "hmac") == "hmac":
            expected = hmac.new(credential["secret"].encode(), claim.payload, hashlib.sha256).hexdigest()
            return hmac.compare_digest(expected.encode(), claim.signature.lower().encode())
        try:
            signature = base64.b64decode(claim.signature, validate=True)
            key = self._key_of(account)
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, claim.payload)
            else:
                key.verify(signature, claim.payload, PKCS1v15(), hashes.SHA256())
        except (binascii.Error, ValueError, InvalidSignature):
            return False
        return True

    def _key_of(self, account: Account) -> PublicKey:
        pem = account.credential["public_key"]
        if pem not in self._parsed:
            kind: KeyKind = "rsa" if account.credential["kind"] == "rsa" else "ed25519"
            self._parsed[pem] = read_public_key(kind, pem)
        return self._parsed[pem]
