"""`otopilot balances|position|volume`: what accounts hold and where users stand."""

from typing import Annotated

import typer

from otopilot import wire
from otopilot.instrument import Venue
from protos import market_pb2, strategy_pb2
from protos import order_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.amounts import enum_word, short
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, as_dict, print_rows, say

balances_app = typer.Typer(add_completion=False)
position_app = typer.Typer(add_completion=False)
volume_app = typer.Typer(add_completion=False)

UserOption = Annotated[str, typer.Option("--user", help="Only this user's.")]
StrategyArgument = Annotated[str, typer.Argument(metavar="ID", help="One strategy; none: all.")]


@balances_app.command()
def balances(
    context: typer.Context,
    user: UserOption = "",
    venue: Annotated[Venue | None, typer.Option("--venue", help="Only this venue.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show the balances of the accounts, read from the venue now."""
    services = clients.of(context)
    listed = services.admin.ask(services.admin.stub.ListUsers, pb.ListUsersRequest()).users
    chosen = [
        each
        for each in listed
        if user in ("", each.user_id) and (venue is None or each.venue == wire.venue_to_pb(venue))
    ]
    if not chosen:
        raise CliError(
            Exit.NOT_FOUND, f"no such user: {user or 'none is stored'}", "see `otopilot users list`"
        )
    rows, data = [], []
    service = services.orders
    for each in chosen:
        request = pb.GetBalancesRequest(user_id=each.user_id, venue=each.venue)
        answer = service.ask(service.stub.GetBalances, request)
        name = enum_word(market_pb2.Venue.Name(each.venue), "VENUE_")
        rows += [(each.user_id, name, b.asset, short(b.free, 8), short(b.locked, 8)) for b in answer.balances]
        data.append({"user_id": each.user_id, "venue": name, **as_dict(answer)})
    print_rows(output, ("user", "venue", "asset", "free", "locked"), rows, data)


@position_app.command()
def position(
    context: typer.Context,
    strategy_id: StrategyArgument = "",
    user: UserOption = "",
    output: Output = Format.TABLE,
) -> None:
    """Show where users stand on their strategy's symbol, by the ledger of own trades."""
    services = clients.of(context)
    asked = [
        (each.user_id, strategy)
        for strategy in strategies(services, strategy_id)
        for each in strategy.users
        if user in ("", each.user_id)
    ]
    if user and not asked:
        raise CliError(Exit.NOT_FOUND, f"no strategy here has a user {user}")
    answers = [(who, strategy, position_of(services, strategy, who)) for who, strategy in asked]
    found = [(who, strategy, each) for who, strategy, each in answers if each is not None]
    if user and not found:
        raise typer.Exit(Exit.NOT_FOUND)
    rows = [
        (
            strategy.strategy_id,
            who,
            strategy.symbol,
            str(each.last_cycle),
            short(each.inventory, 8),
            short(each.inventory_cost),
            short(each.uncovered, 8),
            str(each.open_sells),
            short(each.bought_quote),
            short(each.sold_quote),
            short(each.realised_cost, 4) + ("" if each.cost_complete else " incomplete"),
        )
        for who, strategy, each in found
    ]
    columns = (
        *("strategy", "user", "symbol", "cycle", "inventory", "which cost", "uncovered"),
        *("open sells", "bought", "sold", "cost"),
    )
    data = [
        {"strategy_id": strategy.strategy_id, "user_id": who, **as_dict(each)}
        for who, strategy, each in found
    ]
    print_rows(output, columns, rows, data, "no position")


@volume_app.command()
def volume(
    context: typer.Context,
    strategy_id: StrategyArgument = "",
    user: UserOption = "",
    output: Output = Format.TABLE,
) -> None:
    """Show counted, reserved and left of each target, as order_service admits placements by it."""
    services = clients.of(context)
    service = services.orders
    found: list[pb.VolumeScope] = []
    for strategy in strategies(services, strategy_id):
        for scope in scope_ids(strategy, user):
            try:
                found.append(service.ask(service.stub.GetVolume, pb.GetVolumeRequest(scope_id=scope)))
            except CliError as error:
                # A strategy that never ran has no scope yet; only a named one must have.
                if error.code is not Exit.NOT_FOUND or strategy_id:
                    raise
    rows = [
        (
            each.scope_id,
            short(each.target),
            ("" if each.complete else "at least ") + short(each.counted),
            short(each.reserved),
            short(each.left),
            "  ".join(f"{m.user_id}: {short(m.counted)}" for m in each.members if user in ("", m.user_id)),
        )
        for each in found
    ]
    columns = ("scope", "target", "counted", "reserved", "left", "users")
    print_rows(output, columns, rows, [as_dict(each) for each in found], "no target was set yet")


def strategies(services: Services, strategy_id: str) -> list[strategy_pb2.StrategyStatus]:
    """The named strategy, or all."""
    service = services.strategy
    if strategy_id:
        request = strategy_pb2.GetStrategyStatusRequest(strategy_id=strategy_id)
        return [service.ask(service.stub.GetStrategyStatus, request)]
    return list(service.ask(service.stub.ListStrategies, strategy_pb2.ListStrategiesRequest()).strategies)


def scope_ids(strategy: strategy_pb2.StrategyStatus, user: str = "") -> list[str]:
    """strategy for a shared target, strategy/user for one each (the contract's scope_id)."""
    if strategy.target_scope != "per_user":
        return [strategy.strategy_id]
    return [f"{strategy.strategy_id}/{each.user_id}" for each in strategy.users if user in ("", each.user_id)]


def position_of(
    services: Services, strategy: strategy_pb2.StrategyStatus, user_id: str
) -> pb.Position | None:
    """Where that user stands; none when order_service does not know the user."""
    service = services.orders
    request = pb.GetPositionRequest(
        user_id=user_id, venue=strategy.venue, symbol=strategy.symbol, strategy_id=strategy.strategy_id
    )
    try:
        found: pb.Position = service.ask(service.stub.GetPosition, request)
    except CliError as error:
        if error.code is not Exit.NOT_FOUND:
            raise
        say(error.message)
        return None
    return found
