"""A paper exchange in a test's hands: one world, virtual time, no network.

`Desk` owns a World over a memory store and a clock that moves only when told. `Trader` is one
Alpha user who speaks the session interface the way a browser does.
"""

import json
import random
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import yaml

from paper_exchange.config import Config
from paper_exchange.http import Answer, Request, Response
from paper_exchange.model import Account, NewList, NewOrder, Order
from paper_exchange.store import MemoryStore
from paper_exchange.world import World

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "alpha"
START_MS = 1_800_000_000_000
KOGE = "ALPHA_22USDT"
DEFI = "/bapi/defi/v1/private/alpha-trade"
ASSET = "/bapi/asset/v1/private/alpha-trade"
PUBLIC = "/bapi/defi/v1/public/alpha-trade"


def sample(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def make_config(
    *,
    alpha: dict[str, Any] | None = None,
    spot: dict[str, Any] | None = None,
    house: dict[str, Any] | None = None,
    path: dict[str, Any] | None = None,
    **top: Any,
) -> Config:
    """config/paper.yaml with some values replaced; house and path for every instrument."""
    raw = yaml.load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    raw["alpha"] |= alpha or {}
    raw["spot"] |= spot or {}
    for instrument in raw["instruments"]:
        instrument["house"] |= house or {}
        instrument["path"] |= path or {}
    return Config.model_validate(raw | top)


class Desk:
    """A world and its clock."""

    def __init__(self, config: Config | None = None, store: MemoryStore | None = None, seed: int = 1) -> None:
        self.config = config or make_config()
        self.store = store or MemoryStore()
        self.now_ms = START_MS
        self._seed = seed
        self._boot()

    def _boot(self) -> None:
        self.world = World(
            self.config, self.store, rng=random.Random(self._seed), world_id="ab" * 16, now_ms=self.now_ms
        )
        self.exchange = self.world.exchange
        self.state = self.exchange.state

    def restart(self, down_seconds: float = 0) -> None:
        """A new process over the same disk."""
        self.now_ms += int(down_seconds * 1000)
        self._seed += 1
        self._boot()

    def pass_time(self, seconds: float) -> None:
        """Let the world live, waking it exactly when it asks to be woken."""
        until = self.now_ms + round(seconds * 1000)
        while (due := self.world.next_due()) is not None and due <= until:
            self.now_ms = max(self.now_ms, due)
            self.world.advance(self.now_ms)
        self.now_ms = until
        self.world.advance(until)

    def pin(self, price: str, symbol: str = KOGE) -> None:
        """Hold the price and let the house quote around it."""
        self.exchange.pin_price(symbol, Decimal(price))
        self.pass_time(0.3)

    def ask(self, request: Request) -> Answer:
        return self.world.handle(request, self.now_ms)

    def control(self, method: str, path: str, body: Any = None, query: str = "") -> Any:
        answer = self.ask(Request(method, f"/control/{path}", query, body=json.dumps(body or {}).encode()))
        assert isinstance(answer, Response)
        return json.loads(answer.body) | {"_status": answer.status}

    def public(self, path: str, query: str = "") -> Any:
        answer = self.ask(Request("GET", f"{PUBLIC}/{path}", query))
        assert isinstance(answer, Response)
        return json.loads(answer.body)

    def trader(self, user_id: str = "1", *, managed: bool = True, **balances: str) -> "Trader":
        given = {asset: Decimal(amount) for asset, amount in balances.items()}
        account = self.exchange.open_account(user_id, "alpha", managed=managed, balances=given or None)
        return Trader(self, account)

    def spot(self, user_id: str = "1", **balances: str) -> Account:
        given = {asset: Decimal(amount) for asset, amount in balances.items()}
        return self.exchange.open_account(user_id, "spot", managed=True, balances=given or None)

    def house_ask(self, symbol: str = KOGE) -> Decimal:
        return self.state.markets[symbol].book.depth("SELL", 1)[0][0]

    def house_bid(self, symbol: str = KOGE) -> Decimal:
        return self.state.markets[symbol].book.depth("BUY", 1)[0][0]


class Trader:
    """One Alpha user."""

    def __init__(self, desk: Desk, account: Account) -> None:
        self.desk = desk
        self.user_id = account.user_id
        credential = desk.control("POST", "accounts", {"user_id": account.user_id, "venue": "alpha"})
        self.headers = credential["credential"]["headers"]
        self.frames: list[Any] = []

    @property
    def account(self) -> Account:
        return self.desk.state.accounts.owner(f"alpha/{self.user_id}")

    def call(self, method: str, path: str, sent: Any = None, query: str = "") -> Answer:
        body = json.dumps(sent).encode() if sent is not None else b""
        return self.desk.ask(Request(method, path, query, self.headers, body))

    def post(self, path: str, sent: Any) -> Any:
        answer = self.call("POST", path, sent)
        assert isinstance(answer, Response)
        assert not answer.dropped
        return json.loads(answer.body)

    def get(self, path: str, query: str = "") -> Any:
        answer = self.call("GET", path, query=query)
        assert isinstance(answer, Response)
        return json.loads(answer.body)

    def oto_body(self, price: str, quantity: str, pending: str) -> dict[str, Any]:
        amount = (Decimal(price) * Decimal(quantity)).quantize(Decimal("1e-8"), ROUND_DOWN)
        return {
            "baseAsset": "ALPHA_22",
            "quoteAsset": "USDT",
            "workingSide": "BUY",
            "workingPrice": price,
            "workingQuantity": quantity,
            "paymentDetails": [{"amount": format(amount, "f"), "paymentWalletType": "CARD"}],
            "pendingPrice": pending,
            "pendingType": "LIMIT",
        }

    def order_body(self, side: str, price: str, quantity: str) -> dict[str, Any]:
        amount = (Decimal(price) * Decimal(quantity)).quantize(Decimal("1e-8"), ROUND_DOWN)
        paid = (format(amount, "f"), "CARD") if side == "BUY" else (quantity, "ALPHA")
        return {
            "baseAsset": "ALPHA_22",
            "quoteAsset": "USDT",
            "side": side,
            "price": price,
            "quantity": quantity,
            "paymentDetails": [{"amount": paid[0], "paymentWalletType": paid[1]}],
            "orderType": "LIMIT",
        }

    def oto(self, price: str, quantity: str, pending: str) -> tuple[int, int]:
        answer = self.post(f"{ASSET}/oto-order/place", self.oto_body(price, quantity, pending))
        assert answer["code"] == "000000", answer
        return answer["data"]["workingOrderId"], answer["data"]["pendingOrderId"]

    def order(self, side: str, price: str, quantity: str) -> int:
        answer = self.post(f"{ASSET}/order/place", self.order_body(side, price, quantity))
        assert answer["code"] == "000000", answer
        return int(answer["data"])

    def cancel(self, order_id: int) -> Any:
        return self.post(f"{DEFI}/order/cancel", {"orderId": str(order_id), "symbol": KOGE})

    def found(self, order_id: int) -> Order:
        return self.desk.state.orders[order_id]

    def balance(self, asset: str) -> tuple[str, str]:
        account = self.account
        return str(account.free.get(asset, Decimal(0))), str(account.locked.get(asset, Decimal(0)))

    def listen(self) -> list[Any]:
        """Subscribe to the order stream; the list its frames go to."""
        key = self.post(f"{DEFI}/get-listen-key", {})["data"]
        connection = self.desk.world.connect(
            Request("GET", "/w3w/stream"), lambda frame: self.frames.append(json.loads(frame))
        )
        assert connection is not None
        subscribe = {"method": "SUBSCRIBE", "params": [f"alpha@{key}"], "id": 2}
        self.desk.world.receive(connection, json.dumps(subscribe), self.desk.now_ms)
        assert self.frames.pop() == {"result": None, "id": 2}
        return self.frames


def spot_order(side: str, price: str, quantity: str, **more: Any) -> NewOrder:
    return NewOrder("BNBUSDT", side, Decimal(price), Decimal(quantity), **more)  # type: ignore[arg-type]


def spot_list(kind: str, working: NewOrder, pending: NewOrder, client_id: str = "") -> NewList:
    return NewList(kind, working, pending, client_id)  # type: ignore[arg-type]
