"""The book: price, then time, to the last digit."""

from decimal import Decimal

from paper_exchange.matching import Book, Quote
from tests.paper_exchange.desk import KOGE, Desk, make_config


def quote(side: str, price: str, quantity: str, priority: int) -> Quote:
    return Quote(side, Decimal(price), Decimal(quantity), priority)  # type: ignore[arg-type]


def test_the_better_price_comes_first_and_at_one_price_the_earlier_order() -> None:
    book = Book()
    for item in (quote("SELL", "10", "1", 3), quote("SELL", "9", "2", 4), quote("SELL", "9", "3", 2)):
        book.add(item)
    for item in (quote("BUY", "7", "1", 5), quote("BUY", "8", "2", 7), quote("BUY", "8", "3", 6)):
        book.add(item)
    assert [(q.price, q.priority) for q in book.quotes("SELL")] == [(9, 2), (9, 4), (10, 3)]
    assert [(q.price, q.priority) for q in book.quotes("BUY")] == [(8, 6), (8, 7), (7, 5)]


def test_depth_sums_a_price_and_stops_at_its_limit() -> None:
    book = Book()
    for item in (quote("BUY", "7", "1", 1), quote("BUY", "8", "2", 2), quote("BUY", "8", "3", 3)):
        book.add(item)
    assert book.depth("BUY", 1) == [(Decimal(8), Decimal(5))]
    assert book.depth("BUY", 5) == [(Decimal(8), Decimal(5)), (Decimal(7), Decimal(1))]


def test_every_change_of_the_book_raises_its_update_id() -> None:
    book = Book()
    resting = quote("BUY", "7", "2", 1)
    ids = [book.update_id]
    for change in (
        lambda: book.add(resting),
        lambda: book.take(resting, Decimal(1)),
        lambda: book.remove(resting),
    ):
        change()
        ids.append(book.update_id)
    assert ids == sorted(set(ids))


def test_a_buy_above_the_house_ask_fills_at_the_better_price(desk: Desk) -> None:
    trader = desk.trader()
    ask = desk.house_ask()
    order_id = trader.order("BUY", "48.24", "0.5")
    desk.pass_time(0.5)
    (fill,) = desk.state.fills_of_order[order_id]
    assert fill.price == ask < Decimal("48.24")
    assert not fill.maker


def test_a_resting_sell_fills_at_its_own_price_when_the_house_bid_reaches_it(desk: Desk) -> None:
    trader = desk.trader(ALPHA_22="1")
    order_id = trader.order("SELL", "48.5", "0.5")
    desk.pass_time(1)
    assert trader.found(order_id).status == "NEW"
    desk.pin("49")
    (fill,) = desk.state.fills_of_order[order_id]
    assert fill.price == Decimal("48.5")
    assert fill.maker


def test_an_order_cannot_match_before_its_delay_has_passed(desk: Desk) -> None:
    trader = desk.trader()
    order_id = trader.order("BUY", "48.5", "0.5")
    desk.pass_time(0.099)
    assert trader.found(order_id).status == "NEW"
    desk.pass_time(0.201)
    assert trader.found(order_id).status == "FILLED"


def test_of_two_users_at_one_price_the_first_to_reach_the_book_trades_first() -> None:
    desk = Desk(make_config(alpha={"fill_delay_seconds": ["0.1", "0.1"]}, house={"levels": "0"}))
    desk.pin("48")
    first, second = desk.trader("1"), desk.trader("2")
    early = first.order("BUY", "48", "0.3")
    desk.pass_time(0.05)
    late = second.order("BUY", "48", "0.3")
    desk.pass_time(0.3)
    seller = desk.trader("3", ALPHA_22="1")
    seller.order("SELL", "47", "0.4")
    desk.pass_time(0.3)
    assert first.found(early).executed == Decimal("0.3")
    assert second.found(late).executed == Decimal("0.1")
    assert desk.state.fills_of_order[early][0].price == Decimal(48)


def test_a_sweep_over_two_makers_repeats_the_trade_id_but_not_the_page_id() -> None:
    desk = Desk(make_config(house={"level_notional": "24"}))
    desk.pin("48")
    trader = desk.trader()
    order_id = trader.order("BUY", "49", "0.9")
    desk.pass_time(0.31)
    fills = desk.state.fills_of_order[order_id]
    assert len(fills) > 1
    assert len({fill.sweep_id for fill in fills}) == 1
    assert len({fill.fill_id for fill in fills}) == len(fills)
    assert [fill.last for fill in fills] == [False] * (len(fills) - 1) + [True]


def test_partial_fills_happen_when_they_are_asked_for() -> None:
    desk = Desk(make_config(alpha={"partial_fill_probability": "1"}))
    desk.pin("48")
    trader = desk.trader()
    order_id = trader.order("BUY", "48.24", "0.5")
    while trader.found(order_id).priority is None:
        desk.pass_time(0.001)
    assert trader.found(order_id).status == "PARTIALLY_FILLED"
    desk.pass_time(0.5)
    assert trader.found(order_id).status == "FILLED"


def test_nothing_matches_and_no_price_moves_while_frozen(desk: Desk) -> None:
    trader = desk.trader()
    order_id = trader.order("BUY", "48.5", "0.5")
    desk.exchange.freeze()
    printed = len(desk.state.markets[KOGE].tape.trades)
    desk.pass_time(5)
    assert trader.found(order_id).status == "NEW"
    assert len(desk.state.markets[KOGE].tape.trades) == printed
    assert trader.cancel(order_id)["code"] == "000000"
    desk.exchange.unfreeze()
    desk.pass_time(1)
    assert trader.found(order_id).status == "CANCELED"
    assert len(desk.state.markets[KOGE].tape.trades) > printed
