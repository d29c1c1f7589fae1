"""Every card, by each adapter, against each venue it can be played at.

Spot is played twice on paper, over its sockets and by REST alone; Alpha with orders in numbers, and in
texts, each on an exchange that takes nothing else. The testnet needs a key in the environment (README):
pytest -m testnet.
"""

import pytest

from otopilot.instrument import Venue
from tests.contract import cards_of_failures, cards_of_news, cards_of_orders
from tests.contract.bench import Amounts, has_testnet_key, on_paper, on_testnet
from tests.contract.cards import CARDS, Card

DECKS = (cards_of_orders, cards_of_news, cards_of_failures)


def of(venue: Venue, *, real: bool = False) -> list[Card]:
    """The cards for a venue, in order."""
    mine = [CARDS[number] for number in sorted(CARDS) if CARDS[number].source(venue) is not None]
    return [card for card in mine if not (real and card.needs_paper)]


@pytest.mark.parametrize("card", of(Venue.SPOT), ids=str)
async def test_spot_over_sockets(card: Card) -> None:
    async with on_paper(Venue.SPOT) as bench:
        await bench.connected()
        await card.play(bench)


@pytest.mark.parametrize("card", of(Venue.SPOT), ids=str)
async def test_spot_by_rest(card: Card) -> None:
    async with on_paper(Venue.SPOT, connections=0) as bench:
        await card.play(bench)


@pytest.mark.parametrize("connections", [0, 4])
async def test_spot_where_a_cancelled_order_is_not_found_by_its_old_id(connections: int) -> None:
    """The other side of what no document tells (spot 3.4)."""
    async with on_paper(Venue.SPOT, connections=connections, cancelled_found_by_old_id="false") as bench:
        await CARDS[30].play(bench)


@pytest.mark.parametrize("amounts", ["number", "string"])
@pytest.mark.parametrize("card", of(Venue.ALPHA), ids=str)
async def test_alpha(card: Card, amounts: Amounts) -> None:
    async with on_paper(Venue.ALPHA, amounts=amounts, amounts_as=amounts) as bench:
        await card.play(bench)


@pytest.mark.testnet
@pytest.mark.skipif(not has_testnet_key(), reason="no key for the Spot testnet in the environment")
@pytest.mark.parametrize("card", of(Venue.SPOT, real=True), ids=str)
async def test_spot_testnet(card: Card) -> None:
    async with on_testnet() as bench:
        await bench.connected()
        await card.play(bench)


def test_every_card_names_its_rule_and_where_it_is_written() -> None:
    assert len(CARDS) >= 40
    for card in CARDS.values():
        assert card.rule
        assert card.spot or card.alpha
    assert {card.play.__module__ for card in CARDS.values()} == {deck.__name__ for deck in DECKS}
