"""News arrives in any order, more than once, or not in the order it was true: one order comes of it.

A truth is drawn first: what really happened to the legs. Then everything a venue may tell of it,
by answer, push, query and books; then two arrivals of the same told facts (architecture 4).
"""

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from otopilot.order import Order, RejectionKind, Traded
from tests.otopilot.orders import after, doubted, refused
from tests.otopilot.stories import arrivals, stories


def what_matters(known: Order) -> Order:
    """The order without how often and when it changed."""
    return msgspec.structs.replace(known, version=0, updated_at=known.submitted_at)


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
        trades = [news.trade for news in story.facts if isinstance(news, Traded) and news.role is leg.role]
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
