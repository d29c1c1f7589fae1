"""Orders of kinds that are never placed here, as their owner may give them by hand, are read too."""

from decimal import Decimal
from typing import Any

import pytest

from order_service.venues.port import VenueOrder
from otopilot.order import LegStatus
from tests.order_service.venues.fakes import fixture, reply
from tests.order_service.venues.test_spot_reads import account_of
from tests.order_service.venues.test_spot_writes import BTC

OPEN, PENDING = LegStatus.OPEN, LegStatus.PENDING
DECREMENTED = "spot/rest_order_query_stp_decrement_still_open"


def rows(name: str) -> list[Any]:
    answer = fixture(name)
    return [row | {"symbol": BTC} for row in answer.get("orderReports", [answer])]


async def read(name: str) -> tuple[VenueOrder, ...]:
    _, account = account_of({"openOrders": reply(rows(name))})
    found: tuple[VenueOrder, ...] = await account.open_orders(BTC)
    return found


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("spot/rest_order_full_pegged", [OPEN]),
        ("spot/rest_orderlist_oco", [OPEN, OPEN]),
        ("spot/rest_orderlist_otoco", [OPEN, PENDING, PENDING]),
        (DECREMENTED, [OPEN]),
    ],
)
async def test_a_foreign_order_is_read(name: str, statuses: list[LegStatus]) -> None:
    found = await read(name)
    assert [order.status for order in found] == statuses
    assert [order.venue_order_id for order in found] == [str(row["orderId"]) for row in rows(name)]
    assert [order.quantity for order in found] == [Decimal(row["origQty"]) for row in rows(name)]


async def test_a_prevented_quantity_is_not_an_executed_one() -> None:
    assert Decimal(rows(DECREMENTED)[0]["preventedQuantity"]) == 2
    (found,) = await read(DECREMENTED)
    assert (found.quantity, found.executed_quantity) == (6, 0)
