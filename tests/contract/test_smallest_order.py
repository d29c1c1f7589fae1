"""Whatever is left of a target, strategy and order service come to it: the smallest order of both is one.

The strategy's decision and the order service's are put together as they are, over drawn rules of a
venue, fees, prices and remainders; every order that is admitted fills (product 3.2).
"""

import tempfile
from decimal import Decimal as D
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from order_service.denied import Denied
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, Order, StrategyId, UserId
from strategy_service.state import PlaceOto, Seen, Standing
from tests.order_service.desk import Desk
from tests.order_service.fakes import FakeVenue
from tests.order_service.row import KOGE
from tests.strategy_service.builders import at, filled, rules
from tests.strategy_service.play import Play
from tests.virtual_loop import VirtualClock, virtual

USER, STRATEGY = UserId("1"), StrategyId("s")
MOST_PLACEMENTS = 4  # of what is left: cut to it, then one smallest order


class Remainder:
    """One user with so much of its target left, and what it did about it."""

    def __init__(self, desk: Desk, play: Play, target: D) -> None:
        self.desk, self.play, self.target = desk, play, target
        self.denials: list[str] = []
        self.placed: list[Order] = []
        self.counted = D(0)

    async def reach(self) -> None:
        """Until the target counts as reached."""
        for _ in range(40):
            await self.read()
            if self.counted >= self.target:
                return
            self.play.wait(1.0)
            if isinstance(self.play.state.asked, PlaceOto):
                await self.place(self.play.state.asked)
        raise AssertionError(f"{self.target - self.counted} are left: {self.play.state.waiting}")

    async def read(self) -> None:
        """What the order service says of it."""
        position = await self.desk.accounts.position(USER, self.desk.venue.venue, KOGE, STRATEGY)
        volume = await self.desk.accounts.volume(self.play.rules.scope_id)
        self.counted = volume.counted
        alone = msgspec.structs.replace(position, cycle_orders=(), open_orders=(), uncovered=D(0))
        self.play.said(Standing(position=alone, volume=volume, recent=()))

    async def place(self, asked: PlaceOto) -> None:
        """As the order service decides it; what it admits fills at once."""
        try:
            order = await self.desk.place(
                "1",
                quantity=asked.quantity,
                price=asked.working_price,
                limit_price=asked.min_working_price,
                pending_price=asked.pending_price,
            )
        except Denied as no:
            self.denials.append(f"{no.reason} {no.message}")
            self.play.denies(no.reason, **no.metadata)
            return
        self.placed.append(order)
        account = self.desk.account()
        account.fill(account.row(order))
        account.fill(account.row(order, LegRole.PENDING))  # no SELL of ours is in the way of the next
        await self.desk.sleep(1.0)
        shown = msgspec.structs.replace(order, request_id=asked.request_id, updated_at=at(self.play.now))
        self.play.said(Seen(filled(shown)))


@virtual
async def _reaches(venue: FakeVenue, profit: D, left: D, price: D) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Desk(Path(folder) / "j.db", venue) as desk:
            await desk.add("1", target=str(left))
            play = Play(
                rules(instrument=venue.known, single_trade_amount_usdt=D(150), sell_profit_percentage=profit)
            )
            play.price = str(price)
            course = Remainder(desk, play, left)
            await course.reach()
            _judge(course, venue)
            event(f"denied {len(course.denials)} times, placed {len(course.placed)}")


def _judge(course: Remainder, venue: FakeVenue) -> None:
    known = venue.known
    assert 1 <= len(course.placed) <= MOST_PLACEMENTS, course.denials
    assert len(course.denials) <= 1, course.denials  # the first, before the fee of the account was known
    for order in course.placed:
        for leg in order.legs:
            assert not known.violations(leg.side, leg.price, leg.quantity)
    last = course.placed[-1].working
    pending = course.placed[-1].pending
    assert pending is not None
    before = course.counted - last.quantity * last.price
    assert before < course.target
    over = course.counted - course.target
    floor = known.round_price(Side.BUY, D(course.play.price))
    smallest = known.smallest_quantity(floor, pending.asked_price, venue.fee)
    assert over < smallest * last.asked_price, (over, smallest)
    if over > 0:
        assert last.quantity <= smallest


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    venue=st.sampled_from([Venue.SPOT, Venue.ALPHA]),
    fee=st.sampled_from(["0", "0.00075", "0.001", "0.01"]).map(D),
    step=st.sampled_from(["0.00001", "0.001", "0.01", "0.05"]).map(D),
    least=st.sampled_from(["0", "5", "10", "13.37"]).map(D),
    profit=st.sampled_from(["-3", "-0.5", "0", "0.1", "2"]).map(D),
    price=st.sampled_from(["48", "99.99", "804.41"]).map(D),
    left=st.decimals("0.01", "120", places=2),
)
def test_any_remainder_is_placed_and_exceeded_by_one_smallest_order_at_most(
    venue: Venue, fee: D, step: D, least: D, profit: D, price: D, left: D
) -> None:
    fake = FakeVenue(VirtualClock(), venue)
    fake.fee, fake.price = fee, price
    fake.known = msgspec.structs.replace(
        fake.known, step_size=step, min_quantity=step, min_notional=least, max_num_orders=200
    )
    _reaches(fake, profit, left, price)
