"""The venues' own samples with one thing changed: a field more, a field less, another type, a huge number.

Whatever it is, a parser answers or says that it cannot read; a field nobody knows changes nothing; and
what is read of a money field is what stands there, or nothing.
"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_service.venues import alpha_parse as alpha
from order_service.venues import alpha_rules, spot_rules
from order_service.venues import spot_parse as spot
from order_service.venues.fields import Unreadable, decode
from order_service.venues.port import VenueError, VenueOrder
from otopilot.order import Trade, VenueOrderId
from tests.order_service.venues.fakes import NOW, fixture
from tests.order_service.venues.test_spot_writes import OTO, list_answer

Parse = Callable[[Any], Any]

TRADED = VenueOrderId(str(fixture("alpha/private_user_trades")["data"][0]["orderId"]))
SAMPLES: dict[str, tuple[Any, Parse]] = {
    "spot placement": (list_answer("spot/rest_orderlist_opo"), lambda a: spot.placed(OTO, a, NOW)),
    "spot order": (fixture("spot/rest_order_query"), spot.order),
    "spot orders": (fixture("spot/rest_open_orders"), spot.orders),
    "spot trades": (fixture("spot/rest_my_trades"), spot.trades),
    "spot balances": (fixture("spot/rest_account"), spot.balances),
    "spot fees": (fixture("spot/rest_account_commission"), spot.fee_rates),
    "spot order limits": (fixture("spot/rest_my_filters"), spot.order_limits),
    "spot rules": (
        fixture("spot/composed_rest_exchange_info_one_symbol"),
        lambda a: spot_rules.rules(a, "BTCUSDT"),
    ),
    "spot event": (fixture("spot/uds_execution_report_trade")["event"], spot.pushed),
    "alpha placement": (
        fixture("alpha/private_oto_place")["response"]["data"],
        lambda a: alpha.placed(OTO, a, NOW),
    ),
    "alpha orders": (
        fixture("alpha/private_order_history")["response"]["data"],
        lambda a: [alpha.order(row) for row in alpha.rows(a)],
    ),
    "alpha trades": (
        fixture("alpha/private_user_trades")["data"],
        lambda a: alpha.trades(
            a, VenueOrderId(str(fixture("alpha/private_user_trades")["data"][0]["orderId"]))
        ),
    ),
    "alpha event": (fixture("alpha/stream_private_orders")["plain_limit_filled"], alpha.pushed),
    "alpha rules": (fixture("alpha/public_exchange_info_2026-05_symbol"), alpha_rules.instrument),
    "alpha fees": (fixture("alpha/public_fee_rate")["data"], alpha.fee_rates),
}
WRONG = st.sampled_from(
    [None, True, False, "", "x", [], {}, -1, 0, 10**40, "1e999", "NaN", "Infinity", "-0", "9" * 60, 0.1, "１"]
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from paths(one, (*at, key))


def parsed(document: Any, parse: Parse) -> Any:
    """As the wire brings it; none when it cannot be read."""
    try:
        return parse(decode(json.dumps(document)))
    except (Unreadable, VenueError):
        return None


def holder(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


@pytest.mark.parametrize("name", SAMPLES)
def test_a_field_that_nobody_knows_changes_nothing(name: str) -> None:
    document, parse = SAMPLES[name]
    plain = parsed(document, parse)
    assert plain is not None
    for path in [(), *paths(document)]:
        changed = copy.deepcopy(document)
        place = changed
        for key in path:
            place = place[key]
        if isinstance(place, dict):
            place["neverHeardOf"] = {"a": [1, None, "x"]}
            assert parsed(changed, parse) == plain


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_thing_missing_or_wrong_is_read_or_refused_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    document, parse = SAMPLES[name]
    changed = copy.deepcopy(document)
    path = data.draw(st.sampled_from(list(paths(document))))
    if data.draw(st.booleans()):
        del holder(changed, path)[path[-1]]
    else:
        holder(changed, path)[path[-1]] = data.draw(WRONG)
    for found in as_list(parsed(changed, parse)):
        assert_plausible(found)


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def assert_plausible(found: Any) -> None:
    """What was read could have happened."""
    if isinstance(found, Trade):
        assert found.price.is_finite()
        assert found.price > 0
        assert found.quantity > 0
        assert found.quote >= 0
        assert str(found.venue_order_id).isdigit()
    if isinstance(found, VenueOrder):
        assert found.quantity.is_finite()
        assert min(found.price, found.quantity, found.executed_quantity, found.executed_quote) >= 0
        assert str(found.venue_order_id).isdigit()
    for leg in getattr(found, "legs", ()):
        assert str(leg.venue_order_id).isdigit()
    for inner in (getattr(found, "order", None), getattr(found, "trade", None)):
        if inner is not None:
            assert_plausible(inner)
