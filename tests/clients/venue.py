"""A paper exchange as a public client meets it: a process, a port, keys, and prices that stand still.

Owns the process. Accounts, prices and coins come by the control API; what is tested never does.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

ROOT = Path(__file__).resolve().parents[2]
# Where the prices are pinned; the house quotes a dollar (a few cents for BNB) around them.
BTC, BNB = 100_000, 800
PRICES = {"BTCUSDT": BTC, "BNBUSDT": BNB}
# A path that stands at its start and ticks once in the life of a test, and quotes that nobody eats up.
STANDING = {"amplitude_percent": "0", "tick_interval_seconds": "3600"}
DEEP = {"levels": "20", "level_notional": "100000"}
# Inside the spread and above what the house prints at: nobody but its owner takes an order there.
UNTRADED = "100000.50"
USDT = 20_000
DEADLINE = 30
_users = count(1)


@dataclass(frozen=True)
class Keys:
    """An account's name at the paper exchange, and what its owner signs with."""

    user_id: str
    api_key: str
    secret: str


class Venue:
    """A running paper exchange."""

    def __init__(self, port: int) -> None:
        self.rest = f"http://127.0.0.1:{port}/api"
        self.streams = f"ws://127.0.0.1:{port}"
        self.ws_api = f"ws://127.0.0.1:{port}/ws-api/v3"
        self._control = f"http://127.0.0.1:{port}/control"

    def control(self, path: str, body: Any = None) -> Any:
        """One call of the control API; a body makes it a POST."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self._control}/{path}", data)) as answer:
            return json.loads(answer.read())

    def pin(self, symbol: str, price: int) -> None:
        """Hold a price, and wait until the house quotes around it."""
        self.control("price", {"symbol": symbol, "price": str(price)})
        until = time.monotonic() + DEADLINE
        while not self._is_around(symbol, price):
            assert time.monotonic() < until, f"{symbol} does not come to {price}"
            time.sleep(0.05)

    def _is_around(self, symbol: str, price: int) -> bool:
        with urllib.request.urlopen(f"{self.rest}/v3/ticker/bookTicker?symbol={symbol}") as answer:
            best = json.loads(answer.read())
        return Decimal(best["bidPrice"]) < price < Decimal(best["askPrice"])

    def open_account(self, *, btc: str = "0", **key: str) -> Keys:
        """An account of its own for whoever asks, with the configured money and so many BTC."""
        user_id = str(next(_users))
        made = self.control("accounts", {"user_id": user_id, "venue": "spot", **key})["credential"]
        if btc != "0":
            self.deposit(user_id, "BTC", btc)
        return Keys(user_id, made["api_key"], made.get("secret", ""))

    def open_account_signing_with(self, kind: str) -> Keys:
        """An account whose owner signs by `ed25519` or `rsa`; its secret is a private key in PEM."""
        key: Ed25519PrivateKey | RSAPrivateKey = Ed25519PrivateKey.generate()
        if kind == "rsa":
            key = generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        keys = self.open_account(key_kind=kind, public_key=public.decode())
        return replace(keys, secret=private.decode())

    def deposit(self, user_id: str, asset: str, amount: str) -> None:
        self.control("deposit", {"user_id": user_id, "venue": "spot", "asset": asset, "amount": amount})

    def add_fault(self, user_id: str, kind: str, **more: Any) -> None:
        """Something that goes wrong for one account alone, so that tests do not meet in it."""
        self.control("faults", {"kind": kind, "venue": "spot", "user_id": user_id, **more})


@contextmanager
def running(directory: Path, still: bool = False, **spot: int) -> Iterator[Venue]:
    """Start a paper exchange with these settings changed, and end it.

    `still`: after its first quotes the house does nothing more, so only what clients do moves the books.
    """
    config = yaml.load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    config["spot"] |= {name: str(value) for name, value in spot.items()}
    if still:
        for instrument in config["instruments"]:
            start = PRICES.get(instrument["symbol"], instrument["path"]["start"])
            instrument["path"] = {"kind": "swing", "start": str(start)} | STANDING
            instrument["house"] |= DEEP
    (directory / "paper.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "paper_exchange", "--port", "0"]
    command += ["--config", str(directory / "paper.yaml"), "--data-dir", str(directory / "world")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline().split()
            assert first[:2] == ["paper-exchange", "ready"], first
            venue = Venue(int(first[2].removeprefix("port=")))
            for symbol, price in PRICES.items():
                venue.pin(symbol, price)
            yield venue
        finally:
            process.terminate()
            process.wait(DEADLINE)
