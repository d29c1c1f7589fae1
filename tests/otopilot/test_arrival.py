"""News arrives in any order, more than once, or not in the order it was true: one order comes of it.

A truth is drawn first: what really happened to the legs. Then everything a venue may tell of it,
by answer, push, query and books; then two arrivals of the same told facts (architecture 4).
"""

from dataclasses import dataclass
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from otopilot.instrument import Side
from otopilot.order import LegRole, LegStatus, News, Order, RejectionKind
from tests.otopilot.orders import (
    PENDING,
    WHOLE,
    WORKING,
    after,
    doubted,
    oto,
    refused,
    report,
    single,
    traded,
)

# Filled more often than not: only then there is a SELL to tell of.
ENDS = [LegStatus.FILLED, LegStatus.FILLED, LegStatus.FILLED, LegStatus.CANCELED, LegStatus.EXPIRED, None]


@dataclass(frozen=True)
class Story:
    """A placed order, and what the venue may tell of it."""

    placed: Order
    facts: list[News]


@st.composite
def leg_facts(draw: st.DrawFn, role: LegRole, size: Decimal, end: LegStatus | None) -> list[News]:
    """Everything that may be told of a leg that was on the book, was traded, and ended so."""
    parts = draw(st.lists(st.integers(1, 3), max_size=2))
    if end is LegStatus.FILLED:
        parts.append(0)  # the rest of the leg
    facts: list[News] = []
    executed = Decimal(0)
    sizes = st.sampled_from([None, size])
    facts.append(report(role, LegStatus.OPEN, 0, quantity=draw(sizes), seconds=1))
    for number, part in enumerate(parts):
        last = end is LegStatus.FILLED and number == len(parts) - 1
        quantity = size - executed if last else Decimal(part) / 4
        executed += quantity
        facts.append(traded(role, str(number), quantity, draw(st.sampled_from(["USDT", "KOGE"]))))
        if not last:
            facts.append(report(role, LegStatus.OPEN, executed, quantity=draw(sizes), seconds=2 + number))
    if end is not None:
        # One venue, two wordings of its end, one of them without size and reason.
        told = draw(st.sampled_from([executed, Decimal(0)])) if end is LegStatus.FILLED else executed
        facts.append(report(role, end, executed, quantity=size, reason="GTX", seconds=9))
        facts.append(report(role, end, told, quantity=draw(sizes), reason=draw(st.sampled_from(["", "gtx"]))))
    return facts


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """An order of one leg or two, and its facts; the SELL is only released by a complete fill."""
    two = draw(st.sampled_from([True, True, True, False]))
    placed = oto() if two else single(draw(st.sampled_from(Side)))
    end = draw(st.sampled_from(ENDS))
    facts = draw(leg_facts(WORKING, WHOLE, end))
    if two:
        facts.append(report(PENDING, LegStatus.PENDING, quantity=draw(st.sampled_from([None, WHOLE]))))
        if end is LegStatus.FILLED:
            net = draw(st.sampled_from([WHOLE, Decimal("9.99")]))
            facts += draw(leg_facts(PENDING, net, draw(st.sampled_from(ENDS))))
            facts.append(report(PENDING, LegStatus.OPEN, quantity=net))
        elif end is not None:
            its_end = st.sampled_from([LegStatus.CANCELED, LegStatus.EXPIRED])
            facts.append(report(PENDING, draw(its_end)))
    return Story(placed, facts)


def what_matters(known: Order) -> Order:
    """The order without how often and when it changed."""
    return msgspec.structs.replace(known, version=0, updated_at=known.submitted_at)


def arrivals(facts: list[News]) -> st.SearchStrategy[list[News]]:
    """The facts in some order, some of them again."""
    return st.lists(st.sampled_from(facts), max_size=5).flatmap(
        lambda again: st.permutations([*facts, *again])
    )


@settings(max_examples=400)
@given(st.data())
def test_any_order_and_repetition_of_what_is_true_ends_in_one_order(data: st.DataObject) -> None:
    story = data.draw(stories())
    told = data.draw(st.lists(st.sampled_from(story.facts), min_size=1, unique_by=id))
    # Doubt, and an absence proven too early, may come at any time, and change nothing in the end.
    told += data.draw(st.lists(st.sampled_from([doubted(), refused(RejectionKind.ABSENT)]), max_size=2))
    first, second = data.draw(arrivals(told)), data.draw(arrivals(told))
    assert what_matters(after(story.placed, first)) == what_matters(after(story.placed, second))


@given(st.data())
def test_when_all_was_told_the_order_is_what_happened(data: st.DataObject) -> None:
    story = data.draw(stories())
    known = after(story.placed, data.draw(arrivals(story.facts)))
    for leg in known.legs:
        trades = [news.trade for news in story.facts if hasattr(news, "trade") and news.role is leg.role]
        assert leg.filled_quantity == sum((trade.quantity for trade in trades), Decimal(0))
        assert leg.filled_quote == sum((trade.quote for trade in trades), Decimal(0))
        assert sorted(leg.trade_keys) == sorted(trade.key for trade in trades)
        assert leg.settled == leg.is_over
    assert known.settled == known.is_over


@given(st.data())
def test_after_an_absence_proven_too_early_the_first_proof_of_life_opens_it_again(
    data: st.DataObject,
) -> None:
    story = data.draw(stories())
    alive = data.draw(st.sampled_from(story.facts))
    known = after(story.placed, [doubted(), refused(RejectionKind.ABSENT), alive])
    assert known.rejection is None
    assert known.is_alive
