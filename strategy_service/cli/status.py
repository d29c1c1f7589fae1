"""`otopilot status`: how far, at what cost, is anything stuck.

JSON is the seed's seven keys with their types, exactly; --full gives everything the service says.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from protos import strategy_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.amounts import decimal, duration, enum_word, fixed, short
from strategy_service.cli.clients import Services
from strategy_service.cli.output import Format, Output, as_dict, is_narrow, print_json, print_table, say

app = typer.Typer(add_completion=False)

ONE_LINE = ("strategy", "running", "volume", "target", "progress", "per minute", "eta", "per 1000")
NARROW = 120  # columns; a terminal with fewer has no room for the inventory
USER_LINE = ("strategy", "user", "state", "volume", "waits for", "open sells", "inventory", "cost")


@app.command()
def status(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="One strategy; none: all.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until Ctrl+C.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Everything, also in JSON.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show how far the strategies are."""
    services = clients.of(context)
    if watch:
        _watch(services, strategy_id, output, full)
        return
    service = services.strategy
    if strategy_id:
        request = pb.GetStrategyStatusRequest(strategy_id=strategy_id)
        found = [service.ask(service.stub.GetStrategyStatus, request)]
    else:
        found = list(service.ask(service.stub.ListStrategies, pb.ListStrategiesRequest()).strategies)
    print_statuses(found, output, full=full, one=bool(strategy_id) or len(found) == 1)


def seven(strategy: pb.StrategyStatus) -> dict[str, Any]:
    """The seed's status object."""
    return {
        "strategy_id": strategy.strategy_id,
        "strategy_name": strategy.strategy_name,
        "is_running": strategy.is_running,
        "target_volume": strategy.target_volume,
        "total_volume": strategy.total_volume,
        "progress": strategy.progress,
        "user_volumes": {user.user_id: user.volume for user in strategy.users},
    }


def print_statuses(
    strategies: Iterable[pb.StrategyStatus], output: Format, *, full: bool = False, one: bool = False
) -> None:
    """A single object when one was meant, else a list."""
    found = list(strategies)
    if output is Format.TABLE:
        _print_tables(found, full)
        return
    data = [as_dict(each) if full else seven(each) for each in found]
    if output is Format.JSONL:
        for each in data:
            print_json(each, output)
    else:
        print_json(data[0] if one and data else data, output)


def _print_tables(strategies: Sequence[pb.StrategyStatus], full: bool) -> None:
    if not strategies:
        say("no strategy in the configuration")
        return
    print_table(ONE_LINE, [_strategy_row(each) for each in strategies])
    shown = [each for each in strategies if full or each.is_running or each.HasField("started_at")]
    users = [(each, user) for each in shown for user in each.users]
    if users:
        print()
        few = is_narrow(NARROW)
        columns = [name for name in USER_LINE if not few or name != "inventory"]
        rows = [dict(zip(USER_LINE, _user_row(*user), strict=True)) for user in users]
        print_table(columns, [[row[name] for name in columns] for row in rows])


def at_least(complete: bool) -> str:
    """Marks a volume whose history could not be read whole."""
    return "" if complete else "at least "


def _strategy_row(each: pb.StrategyStatus) -> tuple[str, ...]:
    running = "yes" if each.is_running else "no" if each.enabled else "disabled"
    return (
        each.strategy_id,
        running,
        at_least(each.total_complete) + fixed(each.total_volume),
        short(each.target_volume) + (" each" if each.target_scope == "per_user" else ""),
        each.progress,
        short(each.volume_per_minute),
        duration(each.eta_seconds) if each.is_running else "–",
        short(each.cost_per_1000, 4),
    )


def _user_row(strategy: pb.StrategyStatus, user: pb.UserStatus) -> tuple[str, ...]:
    return (
        strategy.strategy_id,
        user.user_id,
        state_word(user),
        at_least(user.volume_complete) + fixed(user.volume),
        user.reason or user.reason_code,
        str(user.open_sells),
        inventory(user),
        cost(user),
    )


def state_word(user: pb.UserStatus) -> str:
    """running, needs person, ..."""
    return enum_word(pb.UserRunState.Name(user.state), "USER_RUN_STATE_")


def inventory(user: pb.UserStatus) -> str:
    """Base held and what it cost."""
    if not decimal(user.inventory):
        return "0"
    return f"{short(user.inventory, 4)} (cost {short(user.inventory_cost)})"


def cost(user: pb.UserStatus) -> str:
    """Realised cost; incomplete when a fee could not be valued."""
    return short(user.cost, 4) + ("" if user.cost_complete else " incomplete")


def _watch(services: Services, strategy_id: str, output: Format, full: bool) -> None:
    service = services.strategy
    request = pb.WatchStrategiesRequest(strategy_ids=[strategy_id] if strategy_id else [])
    if output is Format.TABLE:
        from rich.console import Console

        from strategy_service.cli.screen import Screen

        with Screen(services.settings.mode, "", Console(highlight=False)) as screen:
            told = partial(screen.update, ())
            for news in clients.follow(service, service.stub.WatchStrategies, request, told):
                screen.update(news.strategies)
        return
    for news in clients.follow(service, service.stub.WatchStrategies, request, say):
        for each in news.strategies:
            print_json(as_dict(each) if full else seven(each), Format.JSONL)
