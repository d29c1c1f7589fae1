"""What is left of a target, and how old a price is."""

from decimal import Decimal

import pytest

from otopilot.instrument import Venue
from otopilot.order import ScopeId, UserId
from otopilot.position import ScopeMember, ScopeVolume, VolumeScope
from otopilot.quote import Quote
from tests.otopilot.orders import START, at


@pytest.mark.parametrize(
    ("counted", "reserved", "left"),
    [("0", "0", "100"), ("60", "30", "10"), ("60", "40", "0"), ("60.01", "40", "0")],
)
def test_what_is_left_is_neither_counted_nor_reserved_and_never_below_zero(
    counted: str, reserved: str, left: str
) -> None:
    member = ScopeMember(UserId("1"), Venue.ALPHA, "ALPHA_22USDT")
    volume = ScopeVolume(
        scope=VolumeScope(scope_id=ScopeId("koge"), members=(member,), target=Decimal(100)),
        counted=Decimal(counted),
        reserved=Decimal(reserved),
        complete=True,
        members=(),
        window_start=None,
    )
    assert volume.left == Decimal(left)


def test_a_price_is_as_old_as_its_confirmation_and_never_from_the_future() -> None:
    quote = Quote(
        venue=Venue.ALPHA, symbol="ALPHA_22USDT", price=Decimal(48), traded_at=at(-60), confirmed_at=START
    )
    assert quote.age(at(2.5)).total_seconds() == 2.5
    assert quote.age(at(-1)).total_seconds() == 0
