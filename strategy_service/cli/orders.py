"""`otopilot orders`: what was placed, what rests, what is in doubt, and what a person may do."""

from typing import Annotated, Any

import typer

from otopilot import wire
from otopilot.order import LegRole
from protos import market_pb2
from protos import order_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.amounts import decimal, enum_word, short
from strategy_service.cli.clients import SETTLE_SECONDS
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, as_dict, print_json, print_rows, print_table, say

app = typer.Typer(
    add_completion=False, help="Orders: list them (without a command), show, cancel, release, settle, watch."
)

COLUMNS = ("order", "user", "strategy", "cycle", "symbol", "state", "buy", "sell", "submitted")
PAGE = 1000

OrderId = Annotated[str, typer.Argument(metavar="ID", help="Our order id, from `otopilot orders`.")]
StrategyOption = Annotated[str, typer.Option("--strategy", help="Only this strategy's.")]
UserOption = Annotated[str, typer.Option("--user", help="Only this user's.")]


@app.callback(invoke_without_command=True)
def list_orders(
    context: typer.Context,
    user: UserOption = "",
    strategy: StrategyOption = "",
    only_open: Annotated[bool, typer.Option("--open", help="Only orders that are not over.")] = False,
    in_doubt: Annotated[bool, typer.Option("--in-doubt", help="Only orders in doubt.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """List orders, newest first."""
    if context.invoked_subcommand is not None:
        return
    service = clients.of(context).orders
    found: list[pb.Order] = []
    token = ""
    while len(found) < limit:
        request = pb.ListOrdersRequest(
            user_id=user,
            strategy_id=strategy,
            open_only=only_open,
            in_doubt_only=in_doubt,
            page_size=min(PAGE, limit - len(found)),
            page_token=token,
        )
        page = service.ask(service.stub.ListOrders, request)
        found.extend(page.orders)
        token = page.next_page_token
        if not token:
            break
    rows = [_row(each) for each in found]
    print_rows(output, COLUMNS, rows, [as_dict(each) for each in found], "no such order")
    if token and output is Format.TABLE:
        say(f"there are more than {limit}: --limit shows more")


@app.command()
def show(context: typer.Context, order_id: OrderId, output: Output = Format.TABLE) -> None:
    """Show one order; a request id (strategy/user/cycle/try) will do as well."""
    service = clients.of(context).orders
    names = {"request_id": order_id} if "/" in order_id else {"order_id": order_id}
    _print(service.ask(service.stub.GetOrder, pb.GetOrderRequest(**names)), output)


@app.command()
def cancel(
    context: typer.Context,
    order_id: OrderId,
    leg: Annotated[
        LegRole, typer.Option("--leg", help="The working leg is the BUY of an OTO, or the only one.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the journal.")] = "asked by a person",
    output: Output = Format.TABLE,
) -> None:
    """Journal the wish that a leg be gone, and send it; `orders watch` shows what came of it."""
    service = clients.of(context).orders
    request = pb.CancelOrderRequest(order_id=order_id, role=wire.role_to_pb(leg), reason=reason)
    _print(service.ask(service.stub.CancelOrder, request), output)


@app.command()
def release(
    context: typer.Context,
    order_id: OrderId,
    reason: Annotated[
        str, typer.Option("--reason", help="Why you are sure that the venue does not have it.")
    ],
    output: Output = Format.TABLE,
) -> None:
    """End an order in doubt on a person's word, after looking at the venue's own screens."""
    service = clients.of(context).admin
    request = pb.ReleaseOrderRequest(order_id=order_id, reason=reason)
    _print(service.ask(service.stub.ReleaseOrder, request), output)


@app.command()
def settle(context: typer.Context, user: UserOption = "", output: Output = Format.TABLE) -> None:
    """Read every open order and every new trade from the venue now."""
    service = clients.of(context).admin
    answer = service.ask(service.stub.Settle, pb.SettleRequest(user_id=user), SETTLE_SECONDS)
    if output is not Format.TABLE:
        print_json(as_dict(answer), output)
    else:
        if answer.open:
            print_table(COLUMNS, [_row(each) for each in answer.open])
        say(
            f"{len(answer.open)} open, {len(answer.in_doubt)} in doubt, {answer.foreign_open_orders} not ours"
        )
        for each in answer.in_doubt:
            say(f"in doubt: {each.order_id} of user {each.user_id}")
    if answer.unread:
        whom = "; ".join(f"user {each.user_id}: {each.reason or each.reason_code}" for each in answer.unread)
        raise CliError(Exit.FAILED, f"could not be read: {whom}")


@app.command()
def watch(
    context: typer.Context,
    user: Annotated[list[str] | None, typer.Option("--user", help="Only these users'.")] = None,
    after: Annotated[int, typer.Option("--after", min=0, help="Resume after this sequence.")] = 0,
    output: Output = Format.TABLE,
) -> None:
    """Show order news as it comes, until Ctrl+C; JSON is one piece of news a line."""
    service = clients.of(context).orders
    request = pb.WatchOrdersRequest(user_ids=user or (), after_sequence=after)
    for news in service.stream(service.stub.WatchOrders, request):
        if not (news.HasField("order") or news.HasField("user") or news.ask_again_user_ids):
            continue  # a heartbeat
        if output is not Format.TABLE:
            print_json(as_dict(news), Format.JSONL)
        elif news.HasField("order"):
            print(f"{news.sequence}  {'  '.join(_row(news.order))}", flush=True)
        elif news.HasField("user"):
            state = enum_word(pb.UserState.Name(news.user.state), "USER_STATE_")
            print(f"{news.sequence}  user {news.user.user_id}: {state} {news.user.reason}", flush=True)


def state_word(order: pb.Order) -> str:
    """working, in doubt, rejected (venue), ..."""
    word = enum_word(pb.OrderState.Name(order.state), "ORDER_STATE_")
    if order.HasField("rejection"):
        kind = enum_word(pb.RejectionKind.Name(order.rejection.kind), "REJECTION_KIND_")
        return f"{word} ({kind})"
    return word


def leg_line(leg: pb.Leg) -> str:
    """Quantity, price, how much of it is filled, and the leg's status."""
    status = enum_word(pb.LegStatus.Name(leg.status), "LEG_STATUS_")
    filled = f", {short(leg.filled_quantity, 8)} filled" if decimal(leg.filled_quantity) else ""
    return f"{short(leg.quantity, 8)} @ {short(leg.price, 12)} {status}{filled}"


def _row(order: pb.Order) -> tuple[str, ...]:
    sides: dict[int, str] = {leg.side: leg_line(leg) for leg in order.legs}
    return (
        order.order_id,
        order.user_id,
        order.strategy_id,
        f"{order.cycle}.{order.try_number}",
        order.symbol,
        state_word(order),
        sides.get(pb.SIDE_BUY, ""),
        sides.get(pb.SIDE_SELL, ""),
        order.submitted_at.ToJsonString(),
    )


def _print(order: pb.Order, output: Format) -> None:
    if output is not Format.TABLE:
        print_json(as_dict(order), output)
        return
    fields: dict[str, Any] = {
        "order": order.order_id,
        "request": order.request_id,
        "user": f"{order.user_id} on {enum_word(market_pb2.Venue.Name(order.venue), 'VENUE_')}",
        "symbol": order.symbol,
        "strategy": f"{order.strategy_id}, cycle {order.cycle}, try {order.try_number}, step {order.step}",
        "state": state_word(order) + (", settled" if order.settled else ""),
        "submitted": order.submitted_at.ToJsonString(),
    }
    if order.HasField("rejection"):
        fields["rejection"] = f"{order.rejection.code} {order.rejection.message}".strip()
    for leg in order.legs:
        role = enum_word(pb.LegRole.Name(leg.role), "LEG_ROLE_")
        side = enum_word(pb.Side.Name(leg.side), "SIDE_").upper()
        fields[role] = f"{side} {leg_line(leg)}, venue id {leg.venue_order_id or 'not known'}"
    for wish in order.cancel_wishes:
        role = enum_word(pb.LegRole.Name(wish.role), "LEG_ROLE_")
        fields[f"cancel {role}"] = f"{wish.reason} ({'open' if wish.open else 'done'})"
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        print(f"{name:<{width}}  {value}")
