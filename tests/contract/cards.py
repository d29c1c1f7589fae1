"""The cards: one rule of a venue each, with its number and where it is written.

A card is an async function of a bench. `spot` and `alpha` name the section of the venue's reference the
rule comes from; a card without one of them is not played there. `needs_paper`: it makes things go wrong,
or wants money that a real venue does not hand out.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from otopilot.instrument import Venue
from tests.contract.bench import Bench

Play = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True)
class Card:
    """One rule, and how it is shown."""

    number: int
    rule: str
    play: Play
    spot: str | None
    alpha: str | None
    needs_paper: bool

    def source(self, venue: Venue) -> str | None:
        """The section of the venue's reference; none: the rule is not the venue's."""
        return self.spot if venue is Venue.SPOT else self.alpha

    def __str__(self) -> str:
        return f"{self.number:02}-{self.play.__name__}"


CARDS: dict[int, Card] = {}


def card(
    number: int, rule: str, *, spot: str | None = None, alpha: str | None = None, needs_paper: bool = False
) -> Callable[[Play], Play]:
    """Register a card."""

    def register(play: Play) -> Play:
        assert number not in CARDS, f"card {number} is there twice"
        CARDS[number] = Card(number, rule, play, spot, alpha, needs_paper)
        return play

    return register
