"""The control API: accounts, time, faults, and the books as an auditor wants them.

For tests, demos and operators of the paper exchange; no venue has anything like it. Amounts are
decimal strings.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from paper_exchange.alpha_api import session_headers
from paper_exchange.connections import Connections
from paper_exchange.exchange import Exchange
from paper_exchange.faults import FaultRule
from paper_exchange.http import Request, Response, decode, json_response
from paper_exchange.model import OPEN, Account, Fill, NewOrder, Order, Refused, Side, VenueName
from paper_exchange.numbers import ZERO, text
from paper_exchange.spot_auth import KeyKind, read_public_key
from paper_exchange.spot_limits import SpotLimits

Row = dict[str, Any]
Amount = Annotated[Decimal, Field(max_digits=24, decimal_places=12)]
UserId = Annotated[str, Field(min_length=1, max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AccountBody(_Body):
    user_id: UserId
    venue: VenueName
    managed: bool = True
    key_kind: KeyKind | None = None
    public_key: Annotated[str, Field(max_length=4096)] = ""
    balances: dict[str, Annotated[Amount, Field(ge=0)]] | None = None
    permissions: tuple[str, ...] | None = None
    key_trades: bool | None = None
    trade_group: Annotated[int, Field(ge=-1)] | None = None

    @model_validator(mode="after")
    def keys_fit_the_venue(self) -> "AccountBody":
        if self.key_kind is not None and self.venue != "spot":
            raise ValueError("key_kind: only Spot accounts have keys")
        if self.key_kind in (None, "hmac"):
            if self.public_key:
                raise ValueError("public_key: only ed25519 and rsa keys have one")
        else:
            read_public_key(self.key_kind, self.public_key)
        return self


class PriceBody(_Body):
    symbol: str
    price: Amount | None


class OrderBody(_Body):
    user_id: UserId
    venue: VenueName
    symbol: str
    side: Side
    price: Annotated[Amount, Field(gt=0)]
    quantity: Annotated[Amount, Field(gt=0)]


class DepositBody(_Body):
    user_id: UserId
    venue: VenueName
    asset: str
    amount: Amount


class NotFound(Exception):
    """No such account or fault."""


class ControlApi:
    """Answers under /control."""

    def __init__(self, exchange: Exchange, connections: Connections, limits: SpotLimits) -> None:
        self._exchange = exchange
        self._limits = limits
        self._connections = connections
        self._routes: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "world"): lambda _: self._world(),
            ("POST", "accounts"): self._open_account,
            ("POST", "freeze"): self._freeze,
            ("POST", "unfreeze"): self._freeze,
            ("GET", "report"): lambda _: self._report(),
            ("GET", "orders"): self._orders,
            ("GET", "trades"): self._trades,
            ("POST", "price"): self._price,
            ("POST", "deposit"): self._deposit,
            ("POST", "lock"): self._lock,
            ("POST", "orders"): self._place,
            ("GET", "faults"): lambda _: self._faults(),
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._remove_fault,
        }

    def serves(self, path: str) -> bool:
        return path.startswith("/control/")

    def handle(self, request: Request) -> Response:
        route = self._routes.get((request.method, request.path.removeprefix("/control/")))
        if route is None:
            return json_response({"error": f"no {request.method} {request.path}"}, status=404)
        try:
            return json_response(route(request))
        except NotFound as error:
            return json_response({"error": str(error)}, status=404)
        except Refused as refused:
            return json_response({"error": str(refused)}, status=409)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            return json_response({"error": "; ".join(faults)}, status=400)
        except ValueError as error:
            return json_response({"error": str(error)}, status=400)

    # World and accounts.

    def _world(self) -> Row:
        state = self._exchange.state
        symbols = [
            {
                "venue": market.instrument.venue,
                "symbol": symbol,
                "price": text(market.last_price),
                "pinned": market.record.path.pinned is not None,
            }
            for symbol, market in state.markets.items()
        ]
        return {
            "world_id": state.world.world_id,
            "now": state.now_ms,
            "frozen": state.world.frozen,
            "symbols": symbols,
        }

    def _open_account(self, request: Request) -> Row:
        body = AccountBody.model_validate(decode(request.body))
        account = self._exchange.open_account(
            body.user_id, body.venue, managed=body.managed, balances=body.balances
        )
        if body.key_kind is not None:
            account.credential |= {"kind": body.key_kind, "public_key": body.public_key}
        for name in ("permissions", "key_trades", "trade_group"):
            if getattr(body, name) is not None:
                setattr(account, name, getattr(body, name))
        self._exchange.save_account(account)
        return {
            "user_id": account.user_id,
            "venue": account.venue,
            "managed": account.managed,
            "credential": _credential(account),
        }

    def _freeze(self, request: Request) -> Row:
        if request.path.endswith("/unfreeze"):
            self._exchange.unfreeze()
        else:
            self._exchange.freeze()
        return self._world()

    def _price(self, request: Request) -> Row:
        body = PriceBody.model_validate(decode(request.body))
        self._exchange.pin_price(body.symbol, body.price)
        return self._world()

    def _deposit(self, request: Request) -> Row:
        body = DepositBody.model_validate(decode(request.body))
        account = self._account(body.user_id, body.venue)
        self._exchange.deposit(account, body.asset, body.amount)
        return {"user_id": account.user_id, "venue": account.venue, "balances": _balances(account)}

    def _lock(self, request: Request) -> Row:
        """Another product of the venue takes hold of an account's funds, or lets go of them."""
        body = DepositBody.model_validate(decode(request.body))
        account = self._account(body.user_id, body.venue)
        self._exchange.lock_elsewhere(account, body.asset, body.amount)
        return {"user_id": account.user_id, "venue": account.venue, "balances": _balances(account)}

    def _place(self, request: Request) -> Row:
        """An order by hand, as its owner would give it in the venue's own window."""
        body = OrderBody.model_validate(decode(request.body))
        account = self._account(body.user_id, body.venue)
        client_id = f"web_{self._exchange.mint_id()}" if body.venue == "spot" else ""
        terms = NewOrder(body.symbol, body.side, body.price, body.quantity, client_id)
        return _plain(self._exchange.place(account, terms))

    def _account(self, user_id: str, venue: str) -> Account:
        account = self._exchange.state.accounts.get(f"{venue}/{user_id}")
        if account is None:
            raise NotFound(f"no account of user {user_id!r} at {venue!r}")
        return account

    # Faults.

    def _faults(self) -> Row:
        faults = self._exchange.faults
        return {"faults": faults.active(), "ended": faults.ended()}

    def _add_fault(self, request: Request) -> Row:
        return {"id": self._exchange.faults.add(FaultRule.model_validate(decode(request.body)))}

    def _remove_fault(self, request: Request) -> Row:
        fault_id = request.query.get("id", "")
        if not fault_id:
            self._exchange.faults.clear()
        elif not fault_id.isdigit() or not self._exchange.faults.remove(int(fault_id)):
            raise NotFound(f"no fault {fault_id!r}")
        return {"faults": self._exchange.faults.active()}

    # Books.

    def _chosen(self, request: Request) -> list[Account]:
        query = request.query
        return [
            account
            for account in self._exchange.state.accounts.all()
            if query.get("user_id", account.user_id) == account.user_id
            and query.get("venue", account.venue) == account.venue
        ]

    def _orders(self, request: Request) -> Row:
        state = self._exchange.state
        orders = [o for account in self._chosen(request) for o in state.by_account[account.key]]
        return {"orders": [_plain(order) | {"open": order.status in OPEN} for order in orders]}

    def _trades(self, request: Request) -> Row:
        state = self._exchange.state
        fills = [f for account in self._chosen(request) for f in state.fills_of_account[account.key]]
        return {"trades": [_plain(fill) for fill in fills]}

    def _report(self) -> Row:
        state = self._exchange.state
        rows, totals = [], _Figures()
        for account in state.accounts.all():
            by_symbol: dict[str, _Figures] = {}
            for order in state.by_account[account.key]:
                by_symbol.setdefault(order.symbol, _Figures()).count_order(order)
            for fill in state.fills_of_account[account.key]:
                by_symbol.setdefault(fill.symbol, _Figures()).count_fill(fill)
            for symbol, figures in by_symbol.items():
                names = {"venue": account.venue, "symbol": symbol, "user_id": account.user_id}
                rows.append(names | {"managed": account.managed} | figures.row())
                totals.absorb(figures)
        accounts = [
            {
                "venue": account.venue,
                "user_id": account.user_id,
                "managed": account.managed,
                "balances": _balances(account),
            }
            for account in state.accounts.all()
        ]
        return {
            "world_id": state.world.world_id,
            "now": state.now_ms,
            "frozen": state.world.frozen,
            "users": rows,
            "totals": totals.row(),
            "accounts": accounts,
            "connections": {"opened": self._connections.opened, "refused": self._connections.refused},
            "limits": {
                "refused_429": self._limits.refused[429],
                "refused_418": self._limits.refused[418],
                "most_weight": self._limits.most_weight,
            },
            "self_matches": state.oracle.matches,
            "newest_self_matches": state.oracle.newest,
        }


class _Figures:
    """What one user did on one symbol."""

    def __init__(self) -> None:
        self.requests = self.lists = self.orders = self.open = 0
        self.sides: dict[str, tuple[int, Decimal, Decimal]] = {
            "BUY": (0, ZERO, ZERO),
            "SELL": (0, ZERO, ZERO),
        }
        self.fees: dict[str, Decimal] = {}

    def count_order(self, order: Order) -> None:
        """A list is one placement request with two orders."""
        self.orders += 1
        self.open += order.status in OPEN
        self.requests += order.leg != "pending"
        self.lists += order.leg == "working"

    def count_fill(self, fill: Fill) -> None:
        self._add(fill.side, 1, fill.quantity, fill.quote)
        self.fees[fill.fee_asset] = self.fees.get(fill.fee_asset, ZERO) + fill.fee

    def absorb(self, other: "_Figures") -> None:
        self.requests += other.requests
        self.lists += other.lists
        self.orders += other.orders
        self.open += other.open
        for side, figures in other.sides.items():
            self._add(side, *figures)
        for asset, fee in other.fees.items():
            self.fees[asset] = self.fees.get(asset, ZERO) + fee

    def _add(self, side: str, trades: int, quantity: Decimal, quote: Decimal) -> None:
        before = self.sides[side]
        self.sides[side] = (before[0] + trades, before[1] + quantity, before[2] + quote)

    def row(self) -> Row:
        return {
            "accepted_requests": self.requests,
            "accepted_lists": self.lists,
            "orders": self.orders,
            "open_orders": self.open,
            "sides": {
                side: {"trades": trades, "quantity": text(quantity), "quote": text(quote)}
                for side, (trades, quantity, quote) in self.sides.items()
            },
            "fees": {asset: text(fee) for asset, fee in self.fees.items()},
        }


def _credential(account: Account) -> Row:
    if account.venue == "alpha":
        return {"kind": "session", "headers": session_headers(account)}
    credential = account.credential
    kind = credential.get("kind", "hmac")
    if kind != "hmac":
        return {"kind": kind, "api_key": credential["token"]}
    return {"kind": kind, "api_key": credential["token"], "secret": credential["secret"]}


def _balances(account: Account) -> Row:
    return {
        asset: {"free": text(free), "locked": text(account.locked.get(asset, ZERO))}
        for asset, free in account.free.items()
    }


def _plain(record: Order | Fill) -> Row:
    """A record as JSON values, amounts as plain digits."""
    row = msgspec.structs.asdict(record)
    row.pop("prevented_matches", None)
    venue, _, user_id = row.pop("account").partition("/")
    plain = {key: text(value) if isinstance(value, Decimal) else value for key, value in row.items()}
    return {"venue": venue, "user_id": user_id} | plain
