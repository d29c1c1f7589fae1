"""The end of a run: final statistics, and whether the paper exchange's books say the same.

Figures come from order_service's ledger after everything was settled, never from counters.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from otopilot import money
from protos import market_pb2, strategy_pb2
from protos import order_pb2 as pb
from strategy_service.cli.accounts import position_of, scope_ids
from strategy_service.cli.amounts import MOST_SHOWN, decimal, enum_word, fixed, more, short
from strategy_service.cli.books import Account, Books
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.orders import leg_line
from strategy_service.cli.output import Format, as_dict, is_narrow, print_json, print_table, say
from strategy_service.cli.status import state_word

_ARRIVED = (strategy_pb2.USER_RUN_STATE_REACHED, strategy_pb2.USER_RUN_STATE_SKIPPED)
_THOUSAND = Decimal(1000)
_RATE_PLACES = 8
_WIDE = 110  # columns; a terminal with fewer shows the most important figures
_COLUMNS = (
    *("user", "state", "volume", "cycles", "cost", "per 1,000", "bought", "sold"),
    *("inventory", "which cost", "open sells"),
)
_FEW = frozenset(_COLUMNS) - {"cycles", "bought", "which cost"}


@dataclass(frozen=True)
class UserResult:
    """One user of one strategy. Amounts in quote; inventory in base."""

    status: strategy_pb2.UserStatus
    venue: str
    symbol: str
    volume: Decimal
    position: pb.Position

    @property
    def cost_per_1000(self) -> Decimal | None:
        """Realised cost per 1000 bought; none before the first trade."""
        bought = decimal(self.position.bought_quote)
        if not bought:
            return None
        return money.truncate(decimal(self.position.realised_cost) * _THOUSAND / bought, _RATE_PLACES)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        rate = self.cost_per_1000
        return {
            "user_id": self.status.user_id,
            "state": state_word(self.status),
            "reason": self.status.reason,
            "volume": money.text(self.volume),
            "cycles": self.status.cycles,
            "cost": self.position.realised_cost,
            "cost_complete": self.position.cost_complete,
            "cost_per_1000": None if rate is None else money.text(rate),
            "bought": self.position.bought_quote,
            "sold": self.position.sold_quote,
            "inventory": self.position.inventory,
            "inventory_cost": self.position.inventory_cost,
            "open_sells": self.position.open_sells,
            "left_open_order_ids": list(self.status.left_open_order_ids),
        }


@dataclass(frozen=True)
class StrategyResult:
    """One strategy and its users."""

    status: strategy_pb2.StrategyStatus
    users: tuple[UserResult, ...]

    @property
    def volume(self) -> Decimal:
        """The sum over its users."""
        return sum((user.volume for user in self.users), money.ZERO)

    @property
    def reached(self) -> bool:
        """A shared target counts for all; others are each user's own. A stop may come with the last trade."""
        target = decimal(self.status.target_volume)
        there = [user.status.state in _ARRIVED or user.volume >= target for user in self.users]
        if self.status.target_scope == "per_user":
            return bool(there) and all(there)
        states = [user.status.state for user in self.users]
        arrived = strategy_pb2.USER_RUN_STATE_REACHED in states or self.volume >= target
        return bool(there) and (arrived or all(there))


@dataclass
class Result:
    """Everything a run ends with."""

    data_dir: str
    strategies: tuple[StrategyResult, ...]
    settled: pb.SettleResponse
    interrupted: bool = False
    not_started: dict[str, str] = field(default_factory=dict)  # strategy: why
    books: Books | None = None  # the paper exchange's, once compared

    @property
    def exit_code(self) -> Exit:
        """A difference from the venue's books is an error whatever else happened."""
        if self.differences:
            return Exit.FAILED
        if self.interrupted:
            return Exit.INTERRUPTED
        return Exit.OK if self.reached else Exit.FAILED

    @property
    def reached(self) -> bool:
        """Every strategy of the run."""
        return not self.not_started and all(each.reached for each in self.strategies)

    @property
    def accounts(self) -> list[Account]:
        """Each user's account once, with what our ledger says of it."""
        found = {}
        for strategy in self.strategies:
            for user in strategy.users:
                key = (user.venue, user.symbol, user.status.user_id)
                position = user.position
                ledger = {"BUY": decimal(position.bought_quote), "SELL": decimal(position.sold_quote)}
                found[key] = Account(*key, ledger)
        return list(found.values())

    @property
    def differences(self) -> list[str]:
        """Where the paper exchange's books say otherwise."""
        return self.books.differences if self.books is not None else []

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "data_dir": self.data_dir,
            "reached": self.reached,
            "interrupted": self.interrupted,
            "not_started": self.not_started,
            "strategies": [
                {
                    "strategy_id": each.status.strategy_id,
                    "strategy_name": each.status.strategy_name,
                    "reached": each.reached,
                    "target_volume": each.status.target_volume,
                    "total_volume": money.text(each.volume),
                    "users": [user.data() for user in each.users],
                }
                for each in self.strategies
            ],
            "open_orders": [as_dict(each) for each in self.settled.open],
            "in_doubt": [as_dict(each) for each in self.settled.in_doubt],
            "paper_exchange": self._books_data(),
        }

    def _books_data(self) -> dict[str, Any] | None:
        if self.books is None:
            return None
        return {
            "agrees": not self.differences,
            "differences": self.differences,
            "users": [row.data() for row in self.books.rows],
        }

    def print(self, output: Format) -> None:
        """To stdout, what needs a person to stderr."""
        if output is not Format.TABLE:
            print_json(self.data(), output)
        else:
            self._print_tables()
        for reason in self.not_started.values():
            say(f"not started: {reason}")
        for strategy in self.strategies:
            for user in strategy.users:
                if user.status.state == strategy_pb2.USER_RUN_STATE_NEEDS_PERSON:
                    say(f"user {user.status.user_id} needs a person: {user.status.reason}")
        for unread in self.settled.unread:
            say(f"user {unread.user_id} could not be read: {unread.reason or unread.reason_code}")
        for difference in self.differences:
            say(f"error: the paper exchange's books differ: {difference}")

    def _print_tables(self) -> None:
        # The longest list first: what it came to stands at the end, where the screen shows it.
        ran = {each.status.strategy_id for each in self.strategies}
        resting = [order for order in self.settled.open if order.strategy_id in ran]
        if resting:
            print(f"resting orders ({len(resting)}):")
            columns = ("order", "user", "symbol", "side", "quantity, price, status")
            print_table(columns, [_resting(order) for order in resting[:MOST_SHOWN]])
            if len(resting) > MOST_SHOWN:
                print(more(len(resting), "otopilot orders --open"))
        if others := len(self.settled.open) - len(resting):
            print(f"resting orders of other strategies: {others} (`otopilot orders --open` lists them)")
        if self.settled.open:
            print()
        if self.settled.in_doubt:
            print(f"in doubt ({len(self.settled.in_doubt)}), settled by order-service when it runs again:")
            for order in self.settled.in_doubt:
                print(f"  {order.order_id} of user {order.user_id}")
            print()
        for each in self.strategies:
            if each.status.strategy_id not in self.not_started:
                self._print_strategy(each)
        if self.books is not None:
            self._print_books(self.books)

    def _print_books(self, books: Books) -> None:
        verdict = "which differs" if self.differences else "as here"
        print(
            f"\npaper exchange says: bought {money.text(books.own('BUY'))} USDT,"
            f" sold {money.text(books.own('SELL'))} USDT: {verdict}"
        )
        bought, sold = books.foreign("BUY"), books.foreign("SELL")
        if bought or sold:
            print(
                f"beside it by other hands: bought {money.text(bought)} USDT, sold {money.text(sold)} USDT"
                " (counts as volume; no cost, no inventory of ours)"
            )

    def _print_strategy(self, each: StrategyResult) -> None:
        status = each.status
        own = " each" if status.target_scope == "per_user" else ""
        print(
            f"{status.strategy_id}: {'target reached' if each.reached else 'target not reached'},"
            f" {short(money.text(each.volume), 8)} of {short(status.target_volume)}{own} USDT"
        )
        rows = [_statistics(user) for user in each.users]
        columns = [name for name in _COLUMNS if name in _FEW or not is_narrow(_WIDE)]
        print_table(columns, [[row[name] for name in columns] for row in rows])
        if any(user.volume != decimal(user.position.bought_quote) for user in each.users):
            print(
                "volume: what counts for this target; cost to open sells: all own trades on the symbol so far"
            )


def _statistics(user: UserResult) -> dict[str, str]:
    """A user's line by the columns' names."""
    position = user.position
    return {
        "user": user.status.user_id,
        "state": state_word(user.status),
        "volume": fixed(money.text(user.volume)),
        "cycles": str(user.status.cycles),
        "cost": short(position.realised_cost, 4),
        "per 1,000": "–" if user.cost_per_1000 is None else short(money.text(user.cost_per_1000), 4),
        "bought": fixed(position.bought_quote),
        "sold": fixed(position.sold_quote),
        "inventory": short(position.inventory, 6),
        "which cost": short(position.inventory_cost),
        "open sells": str(position.open_sells),
    }


def collect(
    services: Services,
    statuses: list[strategy_pb2.StrategyStatus],
    settled: pb.SettleResponse,
    data_dir: str,
) -> Result:
    """Ask order_service for every user's volume and position."""
    results = []
    for status in statuses:
        volumes = _volumes(services, status)
        venue = enum_word(market_pb2.Venue.Name(status.venue), "VENUE_")
        users = tuple(
            UserResult(
                status=user,
                venue=venue,
                symbol=status.symbol,
                volume=volumes.get(user.user_id, decimal(user.volume)),
                position=position_of(services, status, user.user_id) or pb.Position(),
            )
            for user in status.users
        )
        results.append(StrategyResult(status, users))
    return Result(data_dir, tuple(results), settled)


def _volumes(services: Services, status: strategy_pb2.StrategyStatus) -> dict[str, Decimal]:
    """Counted by scope; a user that never had a scope has no entry."""
    service = services.orders
    found: dict[str, Decimal] = {}
    for scope in scope_ids(status):
        try:
            answer = service.ask(service.stub.GetVolume, pb.GetVolumeRequest(scope_id=scope))
        except CliError as error:
            if error.code is not Exit.NOT_FOUND:
                raise
            continue
        found.update({member.user_id: decimal(member.counted) for member in answer.members})
    return found


def _resting(order: pb.Order) -> tuple[str, ...]:
    live = [leg for leg in order.legs if leg.status in (pb.LEG_STATUS_OPEN, pb.LEG_STATUS_UNKNOWN)]
    leg = (live or list(order.legs))[-1]
    side = enum_word(pb.Side.Name(leg.side), "SIDE_").upper()
    return (order.order_id, order.user_id, order.symbol, side, leg_line(leg))
