"""Fresh records: an order or a list as it is written down when the exchange accepts it.

Numbers them and prices market orders; nothing is entered yet, and exchange.py enters it.
"""

from typing import NamedTuple

import msgspec

from paper_exchange.admission import Admission
from paper_exchange.engine import Engine
from paper_exchange.model import (
    STOP_KINDS,
    Account,
    NewList,
    NewOrder,
    Order,
    OrderList,
    Refusal,
    Refused,
    Status,
)
from paper_exchange.numbers import floor_to
from paper_exchange.state import State


class PlacedList(NamedTuple):
    """A list as the placement answer shows it: before any release."""

    order_list: OrderList
    working: Order
    pending: Order


class Records:
    """Makes them."""

    def __init__(self, state: State, engine: Engine, admission: Admission) -> None:
        self._state = state
        self._engine = engine
        self._admission = admission

    def price_market(self, account: Account, terms: NewOrder) -> NewOrder:
        """A market order's worst price, and its quantity if it only says how much quote it wants: the
        most on the step that comes to no more (binance-spot 2.3)."""
        instrument = self._admission.market(terms.symbol, account.venue).instrument
        quantity = terms.quantity
        if not quantity:
            book = self._state.markets[terms.symbol].book
            if (found := book.quantity_for(terms.side, terms.quote_wanted)) is None:
                raise Refused(Refusal.NO_LIQUIDITY)
            quantity = floor_to(found, instrument.step_size)
        price = self._engine.market_price(terms.symbol, terms.side, quantity)
        return msgspec.structs.replace(terms, price=price, quantity=quantity)

    def new_order(self, account: Account, terms: NewOrder, status: Status) -> Order:
        now = self._state.now_ms
        self._state.world.order_id += 1
        return Order(
            order_id=self._state.world.order_id,
            account=account.key,
            symbol=terms.symbol,
            side=terms.side,
            price=terms.price,
            quantity=terms.quantity,
            status=status,
            created_ms=now,
            updated_ms=now,
            client_id=terms.client_id,
            kind=terms.kind,
            time_in_force=terms.time_in_force,
            stp=terms.stp,
            working_ms=now if status is Status.NEW and terms.kind not in STOP_KINDS else None,
            strategy=dict(terms.strategy),
            quote_wanted=terms.quote_wanted,
            stop_price=terms.stop_price,
            iceberg=terms.iceberg,
        )

    def new_list(self, account: Account, terms: NewList) -> PlacedList:
        """A list's records; nothing is entered yet."""
        working = self.new_order(account, terms.working, Status.NEW)
        pending = self.new_order(account, terms.pending, Status.PENDING)
        self._state.world.list_id += 1
        order_list = OrderList(
            list_id=self._state.world.list_id,
            account=account.key,
            symbol=working.symbol,
            kind=terms.kind,
            working_id=working.order_id,
            pending_id=pending.order_id,
            client_id=terms.client_id,
            created_ms=self._state.now_ms,
            sized_by_receipt=not terms.pending.quantity,
        )
        working.list_id = pending.list_id = order_list.list_id
        working.leg, pending.leg = "working", "pending"
        return PlacedList(order_list, working, pending)
