"""`otopilot why`: why a user trades or does not, with the figures that decide it, and what to do."""

from typing import Annotated

import typer

from protos import strategy_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.amounts import NOTHING, enum_word, first, short
from strategy_service.cli.output import Format, Output, as_dict, print_json, say
from strategy_service.cli.status import at_least

app = typer.Typer(add_completion=False)

_CALM = frozenset(
    {
        pb.USER_RUN_STATE_RUNNING,
        pb.USER_RUN_STATE_REACHED,
        pb.USER_RUN_STATE_SKIPPED,
        pb.USER_RUN_STATE_IDLE,
        pb.USER_RUN_STATE_STOPPED,
    }
)


@app.command()
def why(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="One strategy; none: all.")] = "",
    user: Annotated[str, typer.Option("--user", help="Only this user.")] = "",
    output: Output = Format.TABLE,
) -> None:
    """Say why users trade or do not, and what to do about it."""
    service = clients.of(context).strategy
    request = pb.ExplainUsersRequest(strategy_id=strategy_id, user_id=user)
    found = service.ask(service.stub.ExplainUsers, request).users
    if output is Format.JSONL:
        for each in found:
            print_json(as_dict(each), output)
    elif output is Format.JSON:
        print_json([as_dict(each) for each in found], output)
    elif not found:
        say("no strategy in the configuration")
    else:
        print("\n\n".join(_story(each) for each in found), flush=True)


def _story(each: pb.Explanation) -> str:
    """A paragraph a user: the case first, then what it means and what decides it."""
    state = enum_word(pb.UserRunState.Name(each.state), "USER_RUN_STATE_")
    code = pb.ReasonCode.Name(each.code).removeprefix("REASON_CODE_").lower()
    lines = [f"{each.strategy_id}, user {each.user_id}: {state}, {each.reason or each.meaning} [{code}]"]
    if each.meaning and each.meaning != each.reason:
        lines.append(f"  meaning     {each.meaning}")
    if each.what_to_do and (each.state not in _CALM or each.what_to_do != "nothing: it goes on by itself"):
        lines.append(f"  what to do  {each.what_to_do}")
    lines += [f"  {name:<10}  {text}" for name, text in _figures(each) if text]
    return "\n".join(lines)


def _figures(each: pb.Explanation) -> list[tuple[str, str]]:
    return [
        ("since", each.since.ToJsonString() if each.HasField("since") else ""),
        ("next look", each.next_try_at.ToJsonString() if each.HasField("next_try_at") else ""),
        ("volume", _volume(each)),
        ("price", _price(each)),
        ("open SELLs", f"{each.open_sells}{_limit(each.max_open_sells)}"),
        ("cost", _cost(each)),
        ("in the way", f"a managed order at {short(each.blocking_price, 12)}" if each.blocking_price else ""),
        ("order", each.order_id),
        ("last round", round_line(each.last_round) if each.HasField("last_round") else ""),
        ("left open", first(each.left_open_order_ids, f"otopilot orders --open --user {each.user_id}")),
    ]


def _volume(each: pb.Explanation) -> str:
    if not each.target:
        return ""
    whole = f"{at_least(each.volume_complete)}{short(each.scope_volume or each.volume)}"
    text = f"{whole} of {short(each.target)} USDT, {short(each.left)} left"
    if each.volume and each.volume != each.scope_volume:
        text += f"; this user's: {short(each.volume)}"
    return text + (f"; reserved: {short(each.reserved)}" if each.reserved not in ("", "0") else "")


def _price(each: pb.Explanation) -> str:
    if not each.price:
        return "none is known"
    text = f"{short(each.price, 12)}, {each.price_age_ms} ms old (at most {each.max_price_age_ms} ms)"
    if each.swing_percentage:
        text += f"; moved {short(each.swing_percentage)} % (at most {short(each.max_swing_percentage)} %)"
    return text


def _limit(most: int) -> str:
    return f" (at most {most})" if most else ""


def _cost(each: pb.Explanation) -> str:
    limit = f" (at most {short(each.max_cost)})" if each.max_cost else ""
    text = f"{short(each.cost, 4)} USDT{limit}" if each.cost else ""
    if each.cost_per_1000:
        most = f" (at most {short(each.max_cost_per_1000)})" if each.max_cost_per_1000 else ""
        text += f"; per 1,000: {short(each.cost_per_1000, 4)}{most}"
    return text


def round_line(each: pb.Round) -> str:
    """What a round came to, in a line."""
    result = enum_word(pb.RoundResult.Name(each.result), "ROUND_RESULT_")
    tries = f", {each.tries} {'try' if each.tries == 1 else 'tries'}" if each.tries else ""
    bought = f", bought {short(each.bought)}" if each.bought not in ("", "0") else ""
    return f"{each.cycle}: {result}{bought}{tries}{skipped_text(each)}"


def skipped_text(each: pb.Round) -> str:
    """Intervals that passed without a round, and why."""
    if not each.skipped:
        return ""
    reason = enum_word(pb.ReasonCode.Name(each.skipped_reason), "REASON_CODE_")
    return f", {each.skipped} skipped before it: {reason or NOTHING}"
