"""An order's states: which news leads where, what is legal, what is over, settled, unfilled."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from otopilot import order as order_module
from otopilot.instrument import Side
from otopilot.leg import Leg
from otopilot.order import (
    IN_FLIGHT,
    ON_BOOK,
    OVER,
    TRANSITIONS,
    IllegalTransition,
    LegStatus,
    News,
    Noted,
    Order,
    OrderState,
    RejectionKind,
    Wished,
    advance,
)
from tests.otopilot.orders import (
    PENDING,
    WORKING,
    after,
    at,
    doubted,
    filled,
    oto,
    refused,
    report,
    single,
    traded,
)

CANCELED, EXPIRED, OPEN = LegStatus.CANCELED, LegStatus.EXPIRED, LegStatus.OPEN

CASES: dict[str, tuple[list[News], OrderState]] = {
    "nothing heard": ([], OrderState.SUBMITTING),
    "answer lost": ([doubted()], OrderState.IN_DOUBT),
    "accepted": ([report(WORKING, OPEN), report(PENDING, LegStatus.PENDING)], OrderState.WORKING),
    "found after doubt": ([doubted(), report(WORKING, OPEN)], OrderState.WORKING),
    "doubted after the answer": ([report(WORKING, OPEN), doubted()], OrderState.WORKING),
    "partly filled": ([report(WORKING, OPEN, 3), traded(WORKING, "a", 3)], OrderState.WORKING),
    "known by a trade only": ([traded(WORKING, "a", 3)], OrderState.WORKING),
    "known by its SELL only": ([report(PENDING, LegStatus.PENDING)], OrderState.WORKING),
    "BUY filled": ([filled(WORKING)], OrderState.TRIGGERED),
    "SELL on the book": ([filled(WORKING), report(PENDING, OPEN)], OrderState.TRIGGERED),
    "both filled": ([filled(WORKING), filled(PENDING)], OrderState.COMPLETED),
    "SELL's fill heard first": ([filled(PENDING), filled(WORKING)], OrderState.COMPLETED),
    "SELL cancelled": ([filled(WORKING), report(PENDING, CANCELED)], OrderState.CANCELED),
    "SELL expired": ([filled(WORKING), report(PENDING, EXPIRED)], OrderState.EXPIRED),
    "SELL refused at its release": (
        [filled(WORKING), report(PENDING, LegStatus.REJECTED)],
        OrderState.EXPIRED,
    ),
    "empty BUY cancelled": ([report(WORKING, CANCELED)], OrderState.CANCELED),
    "empty BUY expired": ([report(WORKING, EXPIRED)], OrderState.EXPIRED),
    "empty BUY cancelled, SELL told expired": (
        [report(PENDING, EXPIRED), report(WORKING, CANCELED)],
        OrderState.CANCELED,
    ),
    "BUY ended partly filled, SELL unheard of": ([report(WORKING, CANCELED, 3)], OrderState.WORKING),
    "BUY ended partly filled, SELL open": (
        [report(WORKING, CANCELED, 3), report(PENDING, OPEN)],
        OrderState.TRIGGERED,
    ),
    "BUY ended partly filled, SELL ended": (
        [report(WORKING, CANCELED, 3), report(PENDING, EXPIRED)],
        OrderState.CANCELED,
    ),
    "refused by the venue": ([refused(RejectionKind.VENUE)], OrderState.REJECTED),
    "never left": ([refused(RejectionKind.NOT_SENT)], OrderState.REJECTED),
    "proven absent": ([doubted(), refused(RejectionKind.ABSENT)], OrderState.REJECTED),
    "refusal after proof of life": (
        [report(WORKING, OPEN), refused(RejectionKind.ABSENT)],
        OrderState.WORKING,
    ),
    "absent, then alive": ([refused(RejectionKind.ABSENT), report(WORKING, OPEN)], OrderState.WORKING),
    "absent, then a trade": ([refused(RejectionKind.ABSENT), traded(WORKING, "a", 1)], OrderState.WORKING),
    "absent, then ended": ([refused(RejectionKind.ABSENT), report(WORKING, CANCELED)], OrderState.CANCELED),
}


@pytest.mark.parametrize("name", CASES)
def test_news_leads_to_a_state(name: str) -> None:
    news, state = CASES[name]
    assert after(oto(), news).state is state


SINGLE_CASES: dict[str, tuple[list[News], OrderState]] = {
    "on the book": ([report(WORKING, OPEN)], OrderState.WORKING),
    "filled": ([filled(WORKING)], OrderState.COMPLETED),
    "cancelled partly filled": ([report(WORKING, CANCELED, 3)], OrderState.CANCELED),
    "expired": ([report(WORKING, EXPIRED)], OrderState.EXPIRED),
}


@pytest.mark.parametrize("name", SINGLE_CASES)
def test_one_leg_is_over_when_it_ends(name: str) -> None:
    news, state = SINGLE_CASES[name]
    assert after(single(), news).state is state


CONTRADICTIONS: dict[str, tuple[Order, list[News], News]] = {
    "filled after its cancel": (single(), [report(WORKING, CANCELED)], filled(WORKING)),
    "filled after its expiry": (single(), [report(WORKING, EXPIRED)], filled(WORKING)),
    "cancelled after its expiry": (single(), [report(WORKING, EXPIRED)], report(WORKING, CANCELED)),
    "SELL filled after its cancel": (oto(), [filled(WORKING), report(PENDING, CANCELED)], filled(PENDING)),
    "alive after the venue's no": (oto(), [refused(RejectionKind.VENUE)], report(WORKING, OPEN)),
    "a trade after the venue's no": (oto(), [refused(RejectionKind.VENUE)], traded(WORKING, "a", 1)),
    "alive though it never left": (oto(), [refused(RejectionKind.NOT_SENT)], filled(WORKING)),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_raises_and_names_the_order(name: str) -> None:
    start, news, contradiction = CONTRADICTIONS[name]
    known = after(start, news)
    with pytest.raises(IllegalTransition, match=known.order_id) as caught:
        advance(known, contradiction)
    assert caught.value.order == known
    assert caught.value.news == contradiction


# ------------------------------------------------------------------ every edge

Edge = tuple[OrderState, OrderState]
UNIVERSE: list[News] = [
    *(report(WORKING, status, executed) for status in (OPEN, CANCELED, EXPIRED) for executed in (0, 3)),
    report(WORKING, LegStatus.REJECTED),
    filled(WORKING),
    traded(WORKING, "a", 3),
    *(report(PENDING, status) for status in (LegStatus.PENDING, OPEN, CANCELED, EXPIRED, LegStatus.REJECTED)),
    filled(PENDING),
    traded(PENDING, "a", 3),
    *(refused(kind) for kind in RejectionKind),
    doubted(),
]


def _what_counts(order: Order) -> tuple[object, ...]:
    legs = tuple((leg.status, leg.reported_quantity, leg.filled_quantity) for leg in order.legs)
    return (legs, order.rejection, order.in_doubt)


def _walk(start: Order) -> Iterator[tuple[Order, News, Order | OrderState]]:
    """Every order that any sequence of news leads to, with each step: its end, or the state refused."""
    seen = {_what_counts(start)}
    todo = [start]
    while todo:
        known = todo.pop()
        for news in UNIVERSE:
            try:
                changed = advance(known, news)
            except IllegalTransition as illegal:
                yield known, news, illegal.state
                continue
            yield known, news, changed
            if _what_counts(changed) not in seen:
                seen.add(_what_counts(changed))
                todo.append(changed)


def test_exactly_the_legal_edges_are_walked_and_every_other_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: dict[Edge, tuple[Order, News]] = {}
    raised: dict[Edge, set[RejectionKind | None]] = {}
    for start in (oto(), single()):
        for known, news, end in _walk(start):
            if isinstance(end, Order):
                if end.state is not known.state:
                    walked[known.state, end.state] = (known, news)
            else:
                kind = known.rejection.kind if known.rejection else None
                raised.setdefault((known.state, end), set()).add(kind)
    legal = {(before, to) for before, ends in TRANSITIONS.items() for to in ends}
    assert set(walked) == legal
    # What raised is either no edge at all, or an edge that only an absent order may take.
    finals = {RejectionKind.VENUE, RejectionKind.NOT_SENT}
    assert all(edge not in legal or kinds == finals for edge, kinds in raised.items())
    assert {edge for edge in raised if edge in legal} == {
        (OrderState.REJECTED, to) for to in TRANSITIONS[OrderState.REJECTED]
    }
    # The table is what decides: without an edge in it, the same news raises.
    monkeypatch.setattr(order_module, "TRANSITIONS", {state: frozenset() for state in OrderState})
    for known, news in walked.values():
        with pytest.raises(IllegalTransition):
            advance(known, news)


def test_every_state_is_in_flight_on_the_book_or_over() -> None:
    assert frozenset(OrderState) == IN_FLIGHT | ON_BOOK | OVER
    assert len(OrderState) == len(IN_FLIGHT) + len(ON_BOOK) + len(OVER)
    assert set(TRANSITIONS) == set(OrderState)
    assert all(not TRANSITIONS[state] for state in OVER - {OrderState.REJECTED})


# ------------------------------------------------------------------ what the caller reads off it


def test_news_that_says_nothing_new_gives_the_same_object() -> None:
    known = after(oto(), [report(WORKING, OPEN, 3), traded(WORKING, "a", 3)])
    assert advance(known, report(WORKING, OPEN, 3)) is known
    assert advance(known, report(WORKING, OPEN)) is known
    assert advance(known, traded(WORKING, "a", 3)) is known
    assert advance(known, Noted(text="odd", at=at(9))) is known


def test_each_change_raises_the_version_and_never_turns_time_back() -> None:
    known = after(oto(), [report(WORKING, OPEN, seconds=5), report(WORKING, OPEN, 3, seconds=2)])
    assert known.version == 3
    assert known.updated_at == at(5)
    assert known.accepted_at == at(2)


def test_a_leg_is_settled_when_it_ended_and_its_trades_are_read() -> None:
    canceled = after(single(), [report(WORKING, CANCELED, 3)])
    assert canceled.is_over
    assert not canceled.settled
    assert canceled.working.unfilled == 3
    read = after(canceled, [traded(WORKING, "a", 1), traded(WORKING, "b", 2)])
    assert read.settled
    assert read.working.unfilled == 0
    assert not after(oto(), [filled(WORKING)]).settled


def test_an_open_leg_reserves_what_it_may_still_fill() -> None:
    assert oto().working.unfilled == 10
    partly = after(oto(), [report(WORKING, OPEN, 4), traded(WORKING, "a", 3)])
    assert partly.working.unfilled == 7
    # Its word ran ahead of the trades: what it reported enters the ledger yet.
    ended = after(oto(), [report(WORKING, CANCELED, 4), traded(WORKING, "a", 3)])
    assert ended.working.unfilled == 1


def test_a_rejected_order_is_settled_though_nothing_is_known_of_its_legs() -> None:
    assert after(oto(), [refused(RejectionKind.VENUE)]).settled


def test_trades_sum_up_exactly_and_keep_their_fees_apart() -> None:
    known = after(
        oto(),
        [traded(WORKING, "a", Decimal("0.1")), traded(WORKING, "b", Decimal("0.2"), fee_asset="KOGE")],
    )
    assert known.working.filled_quantity == Decimal("0.3")
    assert known.working.filled_quote == Decimal("14.4")
    assert {fee.asset: fee.amount for fee in known.working.fees} == {
        "USDT": Decimal("0.0001"),
        "KOGE": Decimal("0.0002"),
    }


def test_the_venue_sizes_a_pending_leg_when_it_goes_on_the_book_and_not_before() -> None:
    net = Decimal("9.99")
    waiting = after(oto(), [report(PENDING, LegStatus.PENDING, quantity=Decimal(1))])
    assert waiting.legs[1].quantity == 10
    assert after(waiting, [report(PENDING, OPEN, quantity=net)]).legs[1].quantity == net
    # A fill that comes without a size tells it by what was executed.
    sold = after(oto(), [filled(WORKING), report(PENDING, LegStatus.FILLED, net)])
    assert (sold.legs[1].quantity, sold.legs[1].reported_quantity) == (net, net)


def test_a_fill_heard_before_the_size_is_of_that_size() -> None:
    net = Decimal("9.99")
    unsized, sized = report(PENDING, LegStatus.FILLED), report(PENDING, OPEN, quantity=net)
    for news in ([unsized, sized], [sized, unsized]):
        sell = after(oto(), [filled(WORKING), *news]).legs[1]
        assert (sell.quantity, sell.reported_quantity) == (net, net)


def test_the_sell_of_an_empty_buy_ends_with_it_whatever_the_venue_calls_that() -> None:
    buy, sell = report(WORKING, CANCELED), report(PENDING, EXPIRED)
    ended = [after(oto(), news) for news in ([buy], [buy, sell], [sell, buy])]
    assert [known.legs[1].status for known in ended] == [CANCELED] * 3
    assert all(known.settled for known in ended)


def test_a_wish_is_open_until_its_leg_ends() -> None:
    wish = Wished(role=WORKING, reason="fill timeout", at=at(3))
    known = after(oto(), [report(WORKING, OPEN), wish])
    open_wish = known.open_wish(WORKING)
    assert open_wish is not None
    assert open_wish.reason == "fill timeout"
    assert known.open_wish(PENDING) is None
    done = advance(known, filled(WORKING))
    assert done.open_wish(WORKING) is None
    assert done.wishes == known.wishes


def test_a_wish_is_journaled_once_per_leg_also_in_flight_and_never_for_what_is_over() -> None:
    wish = Wished(role=WORKING, reason="stop", at=at(3))
    wished = advance(oto(), wish)
    assert wished.open_wish(WORKING) is not None
    assert advance(wished, Wished(role=WORKING, reason="again", at=at(4))) is wished
    assert len(advance(wished, Wished(role=PENDING, reason="re-price", at=at(4))).wishes) == 2
    triggered = after(oto(), [filled(WORKING)])
    assert advance(triggered, wish) is triggered
    over = after(oto(), [report(WORKING, CANCELED)])
    assert advance(over, wish) is over


def test_an_order_knows_its_legs_by_role_and_by_side() -> None:
    buy_first, sell_only = oto(), single()
    assert buy_first.buy is buy_first.leg(WORKING)
    assert buy_first.sell is buy_first.leg(PENDING)
    assert sell_only.buy is None
    assert sell_only.sell is sell_only.working
    assert single(Side.BUY).sell is None
    with pytest.raises(KeyError):
        sell_only.leg(PENDING)


def test_a_status_moves_forward_only() -> None:
    known: Leg = after(single(), [report(WORKING, OPEN, 3), report(WORKING, LegStatus.PENDING)]).working
    assert (known.status, known.reported_quantity) == (OPEN, 3)
