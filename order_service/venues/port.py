"""What a venue can do for one account, and the three ways it fails.

Adapters report facts in venue-neutral words; which of our orders a fact belongs to is decided
above them. Every failure answers one question: did it happen? Refused: no. NotReached: no, it
never left. Silent: unknown, look it up before anything else (architecture 7).
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec

from otopilot.instrument import Instrument, Side, Venue
from otopilot.money import ZERO
from otopilot.order import LegRole, LegStatus, Order, Trade, VenueOrderId

# The expiry_reason of an order that the venue's own self-match prevention ended.
SELF_MATCH = "self_match_prevented"


class VenueError(Exception):
    """A venue call failed. `code` is the venue's, or a short word of ours."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class VenueRefused(VenueError):
    """It said no, and no is certain.

    `code` is one of our words where something may act on it: insufficient_balance, filter,
    below_min_notional, amount_mismatch, bad_precision, bad_parameter, busy, clock, bad_signature,
    not_open, no_such_order, unknown_symbol, refused; else the venue's number. The message has both.
    """


class VenueNotReached(VenueError):
    """It never left this machine."""


class VenueSilent(VenueError):
    """Sent, and no answer that can be believed: it may have happened."""


class VenueBusy(VenueSilent):
    """Silent because it is overloaded: nobody places before `until`; cancels and questions go on."""

    def __init__(self, code: str, message: str, until: datetime) -> None:
        super().__init__(code, message)
        self.until = until


class CredentialRefused(VenueRefused):
    """The account's credential is not accepted. `code`: `auth_expired` or `verification_required`, for which
    a person is needed, or `not_permitted`, which may pass by itself and is tried again.
    """


class RateLimited(VenueRefused):
    """Refused at the door (403, 418, 429): nobody behind this address may call until `until`."""

    def __init__(self, code: str, message: str, until: datetime) -> None:
        super().__init__(code, message)
        self.until = until


class TooManyOrders(VenueRefused):
    """This account placed too many orders: it alone may place none until `until`."""

    def __init__(self, code: str, message: str, until: datetime) -> None:
        super().__init__(code, message)
        self.until = until


class Credential(Protocol):
    """A user's credential, as far as an adapter may use it. Its repr shows nothing."""

    @property
    def kind(self) -> str:
        """session, hmac, ed25519 or rsa."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Headers that authenticate a request (session: the stored bundle; keys: X-MBX-APIKEY)."""
        ...

    def api_key(self) -> str:
        """The API key; empty for a session."""
        ...

    def sign(self, payload: bytes) -> str:
        """The payload's signature in the form the venue wants; not for a session."""
        ...


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One leg as the venue tells it. `status` is none when its word is not one we know."""

    venue_order_id: VenueOrderId  # empty for one looked up by our client id that the venue has archived
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal  # 0 for a pending leg that the venue has not sized yet
    status: LegStatus | None
    raw_status: str = ""
    executed_quantity: Decimal = ZERO
    executed_quote: Decimal = ZERO
    client_id: str = ""
    list_id: str | None = None
    role: LegRole | None = None  # its position in a list; none for a single order or when not told
    created_at: datetime
    updated_at: datetime
    expiry_reason: str = ""


class PlacedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """A leg in the answer to a placement. UNKNOWN: the venue has it, under a word that we do not know."""

    role: LegRole
    venue_order_id: VenueOrderId
    status: LegStatus
    executed_quantity: Decimal = ZERO


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A definite yes: the venue has it, with these ids. `accepted_at` is our clock's."""

    legs: tuple[PlacedLeg, ...]
    list_id: str | None = None
    accepted_at: datetime
    # Unfilled orders of the account by the seconds of the window, where the venue tells.
    order_counts: Mapping[int, int] = {}


class AssetBalance(msgspec.Struct, frozen=True):
    """One asset of an account, in that asset."""

    asset: str
    free: Decimal
    locked: Decimal


class FeeRates(msgspec.Struct, frozen=True):
    """Fees as fractions: of a BUY from the base received, of a SELL from the quote received."""

    buy: Decimal
    sell: Decimal


class StreamUp(msgspec.Struct, frozen=True):
    """The user stream is connected; whatever came before was missed: sweep."""


class StreamDown(msgspec.Struct, frozen=True):
    """The user stream broke; it reconnects by itself. `ban`: it was refused at the door."""

    reason: str
    ban: RateLimited | None = None


class OrderPushed(msgspec.Struct, frozen=True):
    """An order changed. A hint: the ledger is only ever written from trades that were read."""

    order: VenueOrder


class TradePushed(msgspec.Struct, frozen=True):
    """A trade that came with a push and has a key the venue never repeats (Spot)."""

    trade: Trade
    client_id: str


class BalancePushed(msgspec.Struct, frozen=True):
    """Some balance changed."""


StreamNews = StreamUp | StreamDown | OrderPushed | TradePushed | BalancePushed
StreamSink = Callable[[StreamNews], None]  # must return at once


class Account(Protocol):
    """One user's private side at a venue. Every call may fail in the three ways; only reads are repeated."""

    async def place(self, order: Order) -> Placed:
        """Send an order, once, signed with its `submitted_at` and never later than 1 s after it.

        VenueNotReached if it is too old or no connection was had; CredentialRefused, RateLimited
        and VenueRefused for a definite no; VenueSilent for everything else (architecture 5.3, 5.4).
        """
        ...

    async def cancel(self, order: Order, role: LegRole) -> None:
        """Ask that one leg be cancelled, by the venue's id or by our client id.

        VenueRefused with code `not_open` means "not open now", never "absent".
        """
        ...

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """Every open order of the account on the symbol, pending legs included, foreign ones too."""
        ...

    async def order_history(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """Orders on the symbol of any status created at or after `since`, as far as the venue tells."""
        ...

    async def look_up(self, order: Order, role: LegRole) -> VenueOrder | None:
        """One leg by the venue's id, or by our client id where the venue takes one.

        None: the venue says it has no such order, now. What it has archived has ended, unfilled. A venue
        without such a query raises VenueNotReached (`no_venue_id`) for a leg whose venue id is unknown:
        nothing was asked.
        """
        ...

    async def trades_of(self, symbol: str, venue_order_id: VenueOrderId) -> tuple[Trade, ...]:
        """Every trade of one order."""
        ...

    async def trades_since(self, symbol: str, since: datetime) -> tuple[Trade, ...]:
        """Every trade of the account on the symbol at or after `since`, oldest first.

        Alpha: of orders created since then or still open; an older order that has ended meanwhile
        is read by `trades_of`.
        """
        ...

    async def balances(self) -> tuple[AssetBalance, ...]:
        """The balances that orders on this venue use."""
        ...

    async def fee_rates(self, symbol: str) -> FeeRates:
        """The account's fee rates on the symbol."""
        ...

    async def order_limits(self, symbol: str) -> Mapping[str, Decimal]:
        """What one order of the account on the symbol may be worth of an asset, where the venue limits it."""
        ...

    async def run_stream(self, sink: StreamSink) -> None:
        """Keep the user stream up until cancelled: StreamUp after each (re)connect, then pushes."""
        ...


class VenuePort(Protocol):
    """One venue. Concrete classes are named only in __main__."""

    @property
    def venue(self) -> Venue:
        """Which one."""
        ...

    @property
    def has_client_ids(self) -> bool:
        """Does it take ids of ours, so that an order can be looked up by one?"""
        ...

    @property
    def sizes_pending(self) -> bool:
        """Does it size the pending SELL itself, from what was received?"""
        ...

    def account(self, user_id: str, credential: Credential) -> Account:
        """The private side of one user."""
        ...

    async def world(self) -> str:
        """The paper exchange's world id; empty on the real venue."""
        ...

    async def ready(self) -> None:
        """May orders be signed now? VenueNotReached `clock` while the venue's time is not known."""
        ...

    async def instrument(self, symbol: str) -> Instrument:
        """The rules of a symbol, cached for five minutes, the last good ones kept on failure.

        VenueRefused with code `unknown_symbol`.
        """
        ...

    async def known_instrument(self, symbol: str) -> Instrument:
        """The same rules, however old, unless the venue has refused what they allow: for placements,
        which do not wait for a refresh. Whoever sweeps keeps them fresh.
        """
        ...

    def doubt_rules(self, symbol: str) -> None:
        """An order was denied by the rules as we know them: the next sweep reads them again if they are
        older than half a minute. What the venue loosens, nothing else would tell (reliability 29).
        """
        ...

    async def time(self) -> datetime:
        """The venue's time now, as measured; ours where the venue takes none of our times.

        VenueNotReached `clock` while it cannot be measured.
        """
        ...

    def told_limits(self) -> "Limits | None":
        """What the venue allows, as it told with its rules; none before it has."""
        ...

    async def last_price(self, symbol: str) -> Decimal:
        """Price of the last trade, cached for a second."""
        ...

    async def band_price(self, symbol: str) -> Decimal | None:
        """What the venue measures its price bands from, a few seconds old at most; none: not known."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Response(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def _no_ban(response: Response, now: datetime) -> RateLimited | None:
    return None


def _untold(response: Response) -> int | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a venue allows one address and one account: (count, seconds) of fixed windows; none: no limit."""

    weight: tuple[int, float] | None = None
    requests: tuple[int, float] | None = None
    orders: tuple[tuple[int, float], ...] = ()  # per account; an order counts until its first fill
    connects: tuple[int, float] = (200, 300.0)  # in any stretch of so many seconds
    balances_every: float = 1.0  # seconds; of an account that seems to be short, at most
    weights: Mapping[str, int] = field(default_factory=dict)  # by the name of the Account's call; else 1
    ban: Callable[[Response, datetime], RateLimited | None] = _no_ban
    used_weight: Callable[[Response], int | None] = _untold  # as the venue told with an answer


class Socket(Protocol):
    """An open WebSocket."""

    async def send(self, text: str) -> None:
        """Send a text frame; VenueSilent when it broke, VenueNotReached when nothing was written."""
        ...

    def __aiter__(self) -> AsyncIterator[str]:
        """Text frames until it closes."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


class Transport(Protocol):
    """HTTP and WebSocket below the adapters; the simulation has another one (architecture 8)."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        not_after: datetime | None = None,
    ) -> Response:
        """One request, sent once: no retry, no redirect.

        VenueNotReached when nothing left this machine (no connection, or `not_after` has passed when
        the bytes would leave); VenueSilent when they left and no whole answer came.
        """
        ...

    async def connect(self, url: str) -> Socket:
        """Open a WebSocket; VenueNotReached when it cannot be opened, RateLimited when it may not."""
        ...

    def heard(self, used_weight: int | None, ban: "RateLimited | None") -> None:
        """What an answer over a WebSocket told of this address's limits; HTTP answers tell by themselves."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
