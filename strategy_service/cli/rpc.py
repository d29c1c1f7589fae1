"""`otopilot rpc METHOD [JSON]`: any RPC of the contract, with protobuf JSON in and out."""

import sys
from typing import Annotated

import typer
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from protos import market_pb2, order_pb2, strategy_pb2
from strategy_service.cli import clients
from strategy_service.cli.clients import Service, Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, as_dict, print_json, print_rows

app = typer.Typer(add_completion=False)


@app.command()
def rpc(
    context: typer.Context,
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="Such as GetPrice or OrderService/GetOrder; none: list.")
    ] = "",
    request: Annotated[
        str, typer.Argument(metavar="JSON", help="The request; - reads it from standard input.")
    ] = "{}",
    seconds: Annotated[float, typer.Option("--timeout", min=0.1, help="Deadline, in seconds.")] = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Call any RPC; without a method, list them all."""
    if not method:
        methods = list(_methods().values())
        rows = [(each.full_name, each.input_type.name, each.output_type.name) for each in methods]
        data = [{"method": a, "request": b, "response": c} for a, b, c in rows]
        print_rows(output, ("method", "request", "response"), rows, data)
        return
    found = _find(method)
    _call(clients.of(context), found, request, seconds, output)


def _call(services: Services, method: MethodDescriptor, request: str, seconds: float, output: Format) -> None:
    message = GetMessageClass(method.input_type)()
    try:
        text = sys.stdin.read() if request == "-" else request
        json_format.Parse(text, message)
    except json_format.ParseError as error:
        raise CliError(Exit.CONFIG, f"not a {method.input_type.name}: {error}") from None
    target, name = _target(services, method)
    service = method.containing_service
    if service is None:
        raise CliError(Exit.FAILED, f"{method.full_name} belongs to no service")
    path = f"/{service.full_name}/{method.name}"
    channel = services.channel(target)
    decode = GetMessageClass(method.output_type).FromString
    caller: Service[None] = Service(name, target, None)
    if method.server_streaming:
        stream = channel.unary_stream(path, type(message).SerializeToString, decode)
        for item in caller.stream(stream, message):
            print_json(as_dict(item), Format.JSONL)
        return
    unary = channel.unary_unary(path, type(message).SerializeToString, decode)
    print_json(
        as_dict(caller.ask(unary, message, seconds)), Format.JSON if output is Format.TABLE else output
    )


def _methods() -> dict[str, MethodDescriptor]:
    """Every RPC by its full name, in the order of the contract."""
    return {
        f"{service.full_name}/{method.name}": method
        for file in (market_pb2, order_pb2, strategy_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def _find(name: str) -> MethodDescriptor:
    """The one RPC whose full name ends like that: Claim, OrderService/Claim, the whole path."""
    every = _methods()
    wanted = name.lstrip("/")
    if "/" not in wanted and "." in wanted:
        wanted = "/".join(wanted.rsplit(".", 1))
    for full, method in every.items():
        if full == wanted or full.endswith((f"/{wanted}", f".{wanted}")):
            return method
    raise CliError(Exit.NOT_FOUND, f"no RPC {name}", "`otopilot rpc` lists them")


def _target(services: Services, method: MethodDescriptor) -> tuple[str, str]:
    package = method.full_name.split(".")[1]
    endpoint = {
        "market": services.settings.market,
        "order": services.settings.order,
        "strategy": services.settings.strategy,
    }[package]
    return endpoint.target, f"{package}-service"
