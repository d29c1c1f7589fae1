"""What may really have happened to an order, and everything a venue may tell of it."""

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st

from otopilot.instrument import Side
from otopilot.order import LegRole, LegStatus, News, Order
from tests.otopilot.orders import PENDING, WHOLE, WORKING, oto, report, single, traded

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


def arrivals(facts: list[News]) -> st.SearchStrategy[list[News]]:
    """The facts in some order, some of them again."""
    return st.lists(st.sampled_from(facts), max_size=5).flatmap(
        lambda again: st.permutations([*facts, *again])
    )
