"""`python -m tests.contract`: the cards as a table."""

from otopilot.instrument import Venue
from tests.contract.test_cards import CARDS


def main() -> None:
    """Print them."""
    for number in sorted(CARDS):
        card = CARDS[number]
        where = ", ".join(f"{venue} {card.source(venue)}" for venue in Venue if card.source(venue))
        print(f"{number:3}  {card.rule}\n     [{where}]{'  paper only' if card.needs_paper else ''}")


if __name__ == "__main__":
    main()
