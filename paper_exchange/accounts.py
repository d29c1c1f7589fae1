"""Balances with locks: nothing here lets an account go below zero.

Owns the accounts of all venues and finds them by key, session and API key. Says no with
Refused(INSUFFICIENT_BALANCE) before anything changes.
"""

import hashlib
import random
from collections.abc import Iterable, Mapping
from decimal import Decimal

from paper_exchange.model import Account, Refusal, Refused, VenueName
from paper_exchange.numbers import ZERO


def free_of(account: Account, asset: str) -> Decimal:
    return account.free.get(asset, ZERO)


def locked_of(account: Account, asset: str) -> Decimal:
    return account.locked.get(asset, ZERO)


def credit(account: Account, asset: str, amount: Decimal) -> None:
    """Add to the free balance; a negative amount withdraws what is free."""
    left = free_of(account, asset) + amount
    if left < 0:
        raise Refused(Refusal.INSUFFICIENT_BALANCE, asset)
    account.free[asset] = left


def lock(account: Account, asset: str, amount: Decimal) -> None:
    """Move from free to locked."""
    credit(account, asset, -amount)
    account.locked[asset] = locked_of(account, asset) + amount


def unlock(account: Account, asset: str, amount: Decimal) -> None:
    """Move from locked back to free."""
    spend_locked(account, asset, amount)
    account.free[asset] = free_of(account, asset) + amount


def spend_locked(account: Account, asset: str, amount: Decimal) -> None:
    """Pay out of the lock; more than was locked is a defect of the exchange, not a refusal."""
    left = locked_of(account, asset) - amount
    if left < 0:
        raise AssertionError(f"{account.key} would spend {amount} {asset} beyond its lock")
    account.locked[asset] = left


class Accounts:
    """All accounts of the world."""

    def __init__(self, saved: Iterable[Account] = ()) -> None:
        self._by_key: dict[str, Account] = {}
        self._by_secret: dict[str, Account] = {}
        for account in saved:
            self._remember(account)

    def open(
        self,
        user_id: str,
        venue: VenueName,
        *,
        managed: bool,
        balances: Mapping[str, Decimal],
        now_ms: int,
        mint: random.Random,
        world_id: str,
    ) -> tuple[Account, bool]:
        """The user's account, and whether it is new; an existing one is returned unchanged."""
        existing = self._by_key.get(f"{venue}/{user_id}")
        if existing:
            return existing, False
        account = Account(
            user_id=user_id,
            venue=venue,
            managed=managed,
            credential=_mint_credential(venue, mint, world_id),
            free=dict(balances),
            locked={},
            created_ms=now_ms,
        )
        self._remember(account)
        return account, True

    def get(self, key: str) -> Account | None:
        return self._by_key.get(key)

    def owner(self, key: str) -> Account:
        return self._by_key[key]

    def all(self) -> list[Account]:
        return list(self._by_key.values())

    def by_secret(self, token: str) -> Account | None:
        """The account of a session token (Alpha) or API key (Spot)."""
        return self._by_secret.get(token)

    def by_listen_key(self, listen_key: str, now_ms: int) -> Account | None:
        for account in self._by_key.values():
            if account.listen_key == listen_key and now_ms < account.listen_key_until_ms:
                return account
        return None

    def _remember(self, account: Account) -> None:
        self._by_key[account.key] = account
        self._by_secret[account.credential["token"]] = account


def _mint_credential(venue: VenueName, mint: random.Random, world_id: str) -> dict[str, str]:
    """`token` names the account: the session on Alpha, the API key on Spot; 64 hex digits.

    It begins with the world's mark, so that no other world takes it for its own.
    """
    mark = hashlib.sha256(world_id.encode()).hexdigest()[:16]
    token = f"{mark}{mint.getrandbits(192):048x}"
    second = f"{mint.getrandbits(256):064x}"
    if venue == "alpha":
        return {"token": token, "csrf": second[:32]}
    return {"token": token, "secret": second}
