"""Credentials: sealed for one user at one venue, checked in shape, and never shown."""

import base64
import copy
import io
import json
import logging
import os
import pickle
import traceback
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import given
from hypothesis import strategies as st

from order_service.credentials import CredentialError, StoredCredential, Vault
from otopilot.instrument import Venue

VAULT = Vault(bytes(range(32)))
HIDDEN = "xHIDDENx"
SESSION = {
    "headers": {
        "Cookie": f"p20t={HIDDEN}",
        "csrftoken": f"{HIDDEN}-csrf",
        "Host": "www.binance.com",
        ":authority": "www.binance.com",
        "Content-Length": "12",
        "Connection": "keep-alive",
        "Accept-Encoding": "br",
        "User-Agent": "browser",
    }
}
HMAC = {"api_key": "key", "secret": HIDDEN}


def pem(key: Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded.decode()


def stored(kind: str, secret: object, venue: Venue = Venue.SPOT) -> StoredCredential:
    return VAULT.open("1", venue, VAULT.seal("1", venue, kind, json.dumps(secret).encode()))


def test_a_session_keeps_its_headers_and_drops_those_of_the_captured_request() -> None:
    credential = stored("session", SESSION, Venue.ALPHA)
    assert credential.kind == "session"
    assert credential.api_key() == ""
    assert dict(credential.headers()) == {
        "cookie": f"p20t={HIDDEN}",
        "csrftoken": f"{HIDDEN}-csrf",
        "user-agent": "browser",
        "clienttype": "web",
    }


def test_hmac_signs_as_the_venue_publishes() -> None:
    vectors = json.loads(
        (Path(__file__).parents[1] / "fixtures/spot/signing_vectors_hmac_sha256.json").read_text("utf-8")
    )
    credential = stored("hmac", {"api_key": "key", "secret": vectors["secret_published_example"]})
    assert dict(credential.headers()) == {"x-mbx-apikey": "key"}
    for vector in vectors["vectors"]:
        assert credential.sign(vector["payload_utf8"].encode()) == vector["signature_hex"], vector["name"]


def test_ed25519_and_rsa_sign_so_that_the_public_key_agrees() -> None:
    edwards = Ed25519PrivateKey.generate()
    credential = stored("ed25519", {"api_key": "key", "private_key": pem(edwards)})
    edwards.public_key().verify(base64.b64decode(credential.sign(b"payload")), b"payload")
    big = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    credential = stored("rsa", {"api_key": "key", "private_key": pem(big)})
    big.public_key().verify(
        base64.b64decode(credential.sign(b"payload")), b"payload", PKCS1v15(), hashes.SHA256()
    )


def test_a_blob_opens_only_for_its_user_and_venue_and_under_its_key() -> None:
    blob = VAULT.seal("1", Venue.SPOT, "hmac", json.dumps(HMAC).encode())
    assert HIDDEN.encode() not in blob
    for vault, user, venue in (
        (VAULT, "2", Venue.SPOT),
        (VAULT, "1", Venue.ALPHA),
        (Vault(bytes(32)), "1", Venue.SPOT),
    ):
        with pytest.raises(CredentialError, match="sealed with another key"):
            vault.open(user, venue, blob)


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_blob_with_any_bit_changed_does_not_open(position: int, bit: int) -> None:
    blob = bytearray(VAULT.seal("1", Venue.SPOT, "hmac", json.dumps(HMAC).encode()))
    blob[position % len(blob)] ^= 1 << bit
    with pytest.raises(CredentialError):
        VAULT.open("1", Venue.SPOT, bytes(blob))


@given(st.binary(max_size=200))
def test_any_bytes_as_a_blob_are_called_damaged(blob: bytes) -> None:
    with pytest.raises(CredentialError):
        VAULT.open("1", Venue.SPOT, blob)


def test_two_seals_of_one_secret_differ() -> None:
    content = json.dumps(HMAC).encode()
    assert VAULT.seal("1", Venue.SPOT, "hmac", content) != VAULT.seal("1", Venue.SPOT, "hmac", content)


SMALL_RSA = pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))


@pytest.mark.parametrize(
    ("venue", "kind", "secret", "says"),
    [
        (Venue.ALPHA, "hmac", HMAC, "kind: alpha takes session"),
        (Venue.SPOT, "session", SESSION, "kind: spot takes hmac or ed25519 or rsa"),
        (Venue.SPOT, "hmac", {"api_key": "key"}, "exactly api_key and secret"),
        (Venue.SPOT, "hmac", {**HMAC, HIDDEN: 1}, "exactly api_key and secret"),
        (Venue.SPOT, "hmac", {"api_key": "key", "secret": ""}, "secret must be a text"),
        (Venue.SPOT, "hmac", {"api_key": f"{HIDDEN}\n", "secret": "s"}, "api_key has blanks"),
        (Venue.SPOT, "hmac", [HIDDEN], "a JSON object"),
        (Venue.SPOT, "ed25519", {"api_key": "k", "private_key": HIDDEN}, "not a PEM private key"),
        (Venue.SPOT, "ed25519", {"api_key": "k", "private_key": SMALL_RSA}, "not an Ed25519 key"),
        (Venue.SPOT, "rsa", {"api_key": "k", "private_key": SMALL_RSA}, "at least 2048 bits"),
        (Venue.ALPHA, "session", {"headers": {"cookie": HIDDEN}}, "header csrftoken is missing"),
        (Venue.ALPHA, "session", {"headers": {"csrftoken": HIDDEN, "cookie": " "}}, "cookie is missing"),
        (Venue.ALPHA, "session", {"headers": {"cookie": f"{HIDDEN}\r\nx: y"}}, "one line of text"),
        (Venue.ALPHA, "session", {"headers": {f"{HIDDEN} x": "y"}}, "no header name"),
        (Venue.ALPHA, "session", {"cookie": HIDDEN}, "a session is"),
    ],
)
def test_a_wrong_shape_is_named_without_the_secret(
    venue: Venue, kind: str, secret: object, says: str
) -> None:
    with pytest.raises(CredentialError, match=says) as caught:
        VAULT.seal("1", venue, kind, json.dumps(secret).encode())
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


def test_broken_json_is_refused_without_a_quotation() -> None:
    with pytest.raises(CredentialError, match="not JSON") as caught:
        VAULT.seal("1", Venue.SPOT, "hmac", f'{{"secret": "{HIDDEN}"'.encode())
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


def test_an_encrypted_private_key_is_refused_with_what_to_do() -> None:
    locked = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    with pytest.raises(CredentialError, match="without a passphrase"):
        stored("ed25519", {"api_key": "k", "private_key": locked.decode()})


@pytest.mark.parametrize(
    ("kind", "secret", "venue"), [("session", SESSION, Venue.ALPHA), ("hmac", HMAC, Venue.SPOT)]
)
def test_a_credential_shows_nothing(kind: str, secret: object, venue: Venue) -> None:
    credential = stored(kind, secret, venue)
    shown = [repr(credential), str(credential), f"{credential}", repr([credential]), repr(VAULT)]
    log, lines = structlog.PrintLogger(file := io.StringIO()), io.StringIO()
    structlog.wrap_logger(log, processors=[structlog.processors.JSONRenderer()]).info("x", it=credential)
    handler = logging.StreamHandler(lines)
    handler.emit(logging.LogRecord("x", 20, "", 0, "%s", (credential,), None))
    assert HIDDEN not in "".join([*shown, file.getvalue(), lines.getvalue()])
    assert not hasattr(credential, "__dict__")
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            copied(credential)


def test_the_master_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    blob = Vault.of(tmp_path).seal("1", Venue.SPOT, "hmac", json.dumps(HMAC).encode())
    key_file = tmp_path / "keys" / "master.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert len(key_file.read_bytes()) == 32
    assert [path.name for path in key_file.parent.iterdir()] == ["master.key"]
    assert Vault.of(tmp_path).open("1", Venue.SPOT, blob).api_key() == "key"


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    Vault.of(tmp_path)
    key_file = tmp_path / "keys" / "master.key"
    for mode in (0o640, 0o604, 0o660):
        key_file.chmod(mode)
        with pytest.raises(CredentialError, match="make it 0600"):
            Vault.of(tmp_path)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    Vault.of(tmp_path)
    (tmp_path / "keys" / "master.key").write_bytes(b"k" * length)
    with pytest.raises(CredentialError, match="32 bytes"):
        Vault.of(tmp_path)


def test_a_key_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    Vault.of(tmp_path)
    key_file = tmp_path / "keys" / "master.key"
    os.rename(key_file, tmp_path / "elsewhere")
    key_file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CredentialError, match=r"master\.key"):
        Vault.of(tmp_path)
