"""`otopilot plan`: rounds, time, prices, volume, cost and the balance needed, before anything runs.

Price and rules come from market_service when it is up; with --price everything is reckoned here
and only the rounding to the venue's grids is left out. What was traded already is asked of
strategy_service where that is up.
"""

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import typer

from otopilot import money
from otopilot.instrument import Instrument, Venue
from otopilot.wire import market as wire
from protos import market_pb2, order_pb2, strategy_pb2
from strategy_service import plan as planning
from strategy_service.cli import clients
from strategy_service.cli.amounts import decimal, duration, short
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.market import find
from strategy_service.cli.output import Format, Output, print_json, print_table, say
from strategy_service.cli.trading import ConfigOption, path_of, read, strategy_of
from strategy_service.config import StrategyConfig

app = typer.Typer(add_completion=False)
# Fine enough to leave every amount as it is.
_NO_GRID = Instrument(
    venue=Venue.SPOT,
    symbol="",
    token="",
    base_asset="",
    quote_asset="",
    tick_size=Decimal("1E-12"),
    step_size=Decimal("1E-12"),
)
# Of either side, without any discount, where nobody tells: Spot tells fees to the account only.
_USUAL_FEES = {Venue.SPOT: Decimal("0.001"), Venue.ALPHA: Decimal("0.0001")}


class Given(NamedTuple):
    """What is to be reckoned with whatever the services say."""

    price: Decimal | None
    fee: Decimal | None
    spread: Decimal


@app.command()
def plan(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="None: every enabled strategy.")] = "",
    price: Annotated[str, typer.Option("--price", help="Reckon with this price, in quote per base.")] = "",
    fee: Annotated[str, typer.Option("--fee", help="Fee of either side as a fraction: 0.001 is 0.1 %.")] = "",
    spread: Annotated[str, typer.Option("--spread", help="Distance of ask and bid, in percent.")] = "",
    config: ConfigOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Show what a strategy would do: rounds, time, prices and cost, if every BUY fills at once."""
    services = clients.of(context)
    found = read(path_of(config, services.settings))
    strategies = (strategy_of(found, strategy_id),) if strategy_id else found.enabled()
    if not strategies:
        raise CliError(Exit.CONFIG, f"{found.path} has no enabled strategy", "set enabled: true, or name one")
    given_price = _amount(price, "--price")
    given_fee = _amount(fee, "--fee")
    if given_fee is not None and given_fee >= 1:
        raise CliError(Exit.CONFIG, "--fee: a fraction below 1 is wanted, such as 0.0001 for 0.01 %")
    given = Given(given_price, given_fee, _amount(spread, "--spread") or Decimal(0))
    plans = [_plan(services, each, given, found.max_concurrent_users) for each in strategies]
    if output is Format.TABLE:
        for each, strategy in zip(plans, strategies, strict=True):
            _print(each, strategy)
        return
    data = [_plain(asdict(each)) for each in plans]
    if output is Format.JSONL:
        for each in data:
            print_json(each, output)
    else:
        print_json(data[0] if len(data) == 1 else data, output)


def _amount(text: str, name: str) -> Decimal | None:
    if not text:
        return None
    try:
        amount = money.parse(text)
    except ValueError as error:
        raise CliError(Exit.CONFIG, f"{name}: {error}") from None
    if amount < 0:
        raise CliError(Exit.CONFIG, f"{name}: must not be negative")
    return amount


def _plan(services: Services, strategy: StrategyConfig, given: Given, places: int) -> planning.StrategyPlan:
    price, fee = given.price, given.fee
    rules = _NO_GRID
    limits: tuple[int, ...] = ()
    free: dict[str, Decimal] = {}
    instrument: market_pb2.Instrument | None = None
    try:
        instrument = find(services, "", strategy.target_token, strategy.target_chain or "", strategy.venue)
    except CliError as error:
        if price is None or error.code is not Exit.UNREACHABLE:
            hint = error.hint or "or give a price with --price"
            raise CliError(error.code, error.message, f"{hint}; or reckon without it: --price P") from None
        say("market-service is not up: reckoned without the venue's tick, step and least amount")
    else:
        rules = wire.instrument_from_pb(instrument)
        limits = (instrument.max_num_orders, instrument.max_num_order_lists)
        if fee is None and instrument.buy_fee_rate:
            fee = decimal(instrument.buy_fee_rate)
        if price is None:
            price = _last_price(services, instrument)
    if fee is None:
        fee = _USUAL_FEES[strategy.venue]
        say(f"the venue's fee is not known: reckoned with {money.text(fee)} (--fee)")
    counted = _counted(services, strategy)
    if instrument is not None:
        free = _free(services, strategy, instrument)
    try:
        return planning.plan(
            strategy,
            price=price,
            instrument=rules,
            fee_rate=fee,
            counted=counted,
            max_concurrent_users=places,
            order_limits=limits,
            free=free,
            spread=given.spread,
        )
    except ValueError as error:
        raise CliError(Exit.CONFIG, str(error)) from None


def _last_price(services: Services, instrument: market_pb2.Instrument) -> Decimal:
    service = services.market
    request = market_pb2.GetPriceRequest(venue=instrument.venue, symbol=instrument.symbol)
    return decimal(service.ask(service.stub.GetPrice, request).price)


def _free(
    services: Services, strategy: StrategyConfig, instrument: market_pb2.Instrument
) -> dict[str, Decimal]:
    """What each user has to buy with, as far as order_service can say."""
    service = services.orders
    free: dict[str, Decimal] = {}
    for user_id in strategy.user_ids:
        request = order_pb2.GetBalancesRequest(user_id=user_id, venue=instrument.venue)
        try:
            found = service.ask(service.stub.GetBalances, request).balances
        except CliError as error:
            if error.code is Exit.UNREACHABLE:
                break
            continue
        quote = (decimal(each.free) for each in found if each.asset == instrument.quote_asset)
        free[user_id] = next(quote, Decimal(0))
    if len(free) < len(strategy.user_ids):
        say("not every balance is known: what may be short is not said for those users")
    return free


def _counted(services: Services, strategy: StrategyConfig) -> dict[str, Decimal]:
    """What each user has in the window; nothing when strategy_service cannot say."""
    service = services.strategy
    request = strategy_pb2.GetStrategyStatusRequest(strategy_id=strategy.strategy_id)
    try:
        status = service.ask(service.stub.GetStrategyStatus, request)
    except CliError as error:
        if error.code not in (Exit.UNREACHABLE, Exit.NOT_FOUND):
            raise
        say("what was traded already is not known here: reckoned from zero")
        return {}
    return {user.user_id: decimal(user.volume) for user in status.users}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return money.text(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _print(plan: planning.StrategyPlan, strategy: StrategyConfig) -> None:
    seconds = plan.duration_seconds
    print(
        f"{plan.strategy_id}: {money.text(strategy.target_volume)} USDT"
        f"{' each' if strategy.target_scope == 'per_user' else ''}, {_show(plan.left)} left,"
        f" price {money.text(plan.price)}"
    )
    print(
        f"  {plan.rounds} rounds, {'never' if seconds is None else duration(float(seconds))},"
        f" {_show(plan.volume)} USDT at {_show(plan.volume_per_second)} a second,"
        f" fees {_show(plan.fees)}, {_cost(plan)}"
    )
    rows = [_row(user) for user in plan.users]
    if not any(user.start_seconds for user in plan.users):
        for row in rows:
            del row["starts"]
    print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    for note in plan.notes:
        print(f"  note: {note}")
    for warning in plan.warnings:
        print(f"  warning: {warning}")


def _row(user: planning.UserPlan) -> dict[str, str]:
    """What it does and needs, by column; why it cannot trade is among the warnings."""
    return {
        "user": user.user_id,
        "amount": money.text(user.amount),
        "every": f"{money.text(user.interval_seconds)} s",
        "buy at": _show(user.buy_price, 12),
        "sell at": _show(user.sell_price, 12),
        "quantity": _show(user.quantity, 8),
        "rounds": str(user.rounds),
        "starts": duration(float(user.start_seconds)),
        "takes": duration(float(user.duration_seconds)),
        "volume": _show(user.volume),
        "needs": _show(user.needed),
    }


def _cost(plan: planning.StrategyPlan) -> str:
    """Both costs where SELLs rest, with what makes the one or the other."""
    if plan.cost == plan.cost_resting:
        return f"cost {_show(plan.cost)}"
    return (
        f"cost {_show(plan.cost)} when every SELL has filled (less than 0: a gain),"
        f" {_show(plan.cost_resting)} while those above the market rest"
    )


def _show(amount: Decimal, places: int = 2) -> str:
    return short(money.text(amount), places)
