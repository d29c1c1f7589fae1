"""`otopilot market instrument|price|watch`: what market_service knows."""

from typing import Annotated

import typer

from otopilot import wire
from otopilot.instrument import Venue
from protos import market_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.amounts import enum_word, short
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, as_dict, print_json, print_record

app = typer.Typer(add_completion=False, help="Prices and instruments.", no_args_is_help=True)

Symbol = Annotated[str, typer.Argument(help="The trading symbol, such as ALPHA_22USDT.")]
Token = Annotated[str, typer.Option("--token", help="The token's name, such as KOGE, instead of a symbol.")]
Chain = Annotated[str, typer.Option("--chain", help="The token's chain, such as BSC.")]
VenueOption = Annotated[
    Venue | None, typer.Option("--venue", help="Default: alpha for ALPHA_ symbols and chains.")
]


def find(services: Services, symbol: str, token: str, chain: str, venue: Venue | None) -> pb.Instrument:
    """The instrument that was named. Raises CliError."""
    if not symbol and not token:
        raise CliError(Exit.CONFIG, "which instrument? name a symbol, or --token and --chain")
    if venue is None and (chain or symbol.startswith("ALPHA_")):
        venue = Venue.ALPHA
    if venue is None:
        raise CliError(
            Exit.CONFIG, f"on which venue is {symbol or token}?", "say --venue spot, or --chain for a token"
        )
    request = pb.GetInstrumentRequest(symbol=symbol, token=token, chain=chain)
    request.venue = wire.venue_to_pb(venue)
    service = services.market
    found: pb.Instrument = service.ask(service.stub.GetInstrument, request)
    return found


@app.command()
def instrument(
    context: typer.Context,
    symbol: Symbol = "",
    token: Token = "",
    chain: Chain = "",
    venue: VenueOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Show the rules of one instrument."""
    found = find(clients.of(context), symbol, token, chain, venue)
    data = as_dict(found)
    fields = {name: str(value) for name, value in data.items() if value not in ("", None)}
    fields["venue"] = enum_word(pb.Venue.Name(found.venue), "VENUE_")
    fields["status"] = enum_word(pb.InstrumentStatus.Name(found.status), "INSTRUMENT_STATUS_")
    print_record(output, fields, data)


@app.command()
def price(
    context: typer.Context,
    symbol: Symbol = "",
    token: Token = "",
    chain: Chain = "",
    venue: VenueOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Show the last price, in quote per base."""
    services = clients.of(context)
    found = find(services, symbol, token, chain, venue)
    request = pb.GetPriceRequest(venue=found.venue, symbol=found.symbol)
    answer = services.market.ask(services.market.stub.GetPrice, request)
    if output is Format.TABLE:
        print(_line(answer))
    else:
        print_json(as_dict(answer), output)


@app.command()
def watch(
    context: typer.Context,
    symbols: Annotated[list[str] | None, typer.Argument(help="Trading symbols.")] = None,
    token: Token = "",
    chain: Chain = "",
    venue: VenueOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Show prices as they come, until Ctrl+C; JSON is one price a line."""
    services = clients.of(context)
    found = [find(services, symbol, "", "", venue) for symbol in symbols or ()]
    if token or not found:
        found.append(find(services, "", token, chain, venue))
    keys = [pb.PriceKey(venue=each.venue, symbol=each.symbol) for each in found]
    service = services.market
    for news in service.stream(service.stub.WatchPrices, pb.WatchPricesRequest(keys=keys)):
        for each in news.prices:
            if output is Format.TABLE:
                print(_line(each), flush=True)
            else:
                print_json(as_dict(each), Format.JSONL)


def _line(answer: pb.Price) -> str:
    source = enum_word(pb.PriceSource.Name(answer.source), "PRICE_SOURCE_")
    stale = "  stale" if answer.stale else ""
    return f"{answer.symbol}  {short(answer.price, 18)}  {answer.age_ms} ms old  {source}{stale}"
