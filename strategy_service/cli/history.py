"""`otopilot history`: what rounds came to, and with --runs how runs ended."""

from typing import Annotated

import typer

from protos import strategy_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.amounts import NOTHING, decimal, duration, enum_word, fixed
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, as_dict, print_rows, say
from strategy_service.cli.why import skipped_text

app = typer.Typer(add_completion=False)

PAGE = 1000
ROUNDS = ("ended", "strategy", "user", "cycle", "result", "bought", "tries", "seconds", "late ms", "skipped")
_BOUGHT = (pb.ROUND_RESULT_FILLED, pb.ROUND_RESULT_PARTIAL)
RUNS = ("strategy", "started", "ended", "lasted", "configuration", "how users ended")


@app.command()
def history(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="One strategy; none: all.")] = "",
    user: Annotated[str, typer.Option("--user", help="Only this user's rounds.")] = "",
    runs: Annotated[bool, typer.Option("--runs", help="Runs instead of rounds.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """Show past rounds, newest first: bought, tries, how late they began, and skipped intervals."""
    services = clients.of(context)
    if runs:
        if user:
            raise CliError(Exit.USAGE, "--runs shows all users of a run: leave out --user")
        _runs(services, strategy_id, limit, output)
        return
    found, more = _rounds(services, strategy_id, user, limit)
    rows = [_round_row(each) for each in found]
    print_rows(output, ROUNDS, rows, [as_dict(each) for each in found], "no round yet")
    if more and output is Format.TABLE:
        say(f"there are more than {limit}: --limit shows more")


def _rounds(services: Services, strategy_id: str, user: str, limit: int) -> tuple[list[pb.Round], bool]:
    service = services.strategy
    found: list[pb.Round] = []
    token = ""
    while len(found) < limit:
        request = pb.ListRoundsRequest(
            strategy_id=strategy_id,
            user_id=user,
            page_size=min(PAGE, limit - len(found)),
            page_token=token,
        )
        page = service.ask(service.stub.ListRounds, request)
        found.extend(page.rounds)
        token = page.next_page_token
        if not token:
            break
    return found, bool(token)


def _round_row(each: pb.Round) -> tuple[str, ...]:
    took = each.ended_at.ToNanoseconds() - each.started_at.ToNanoseconds()
    return (
        each.ended_at.ToJsonString(),
        each.strategy_id,
        each.user_id,
        str(each.cycle),
        enum_word(pb.RoundResult.Name(each.result), "ROUND_RESULT_"),
        _bought(each),
        str(each.tries),
        f"{took / 1_000_000_000:.1f}" if each.HasField("started_at") else "",
        str(each.late_ms) if each.late_ms >= 0 else "",
        skipped_text(each).removeprefix(", ").replace(" skipped before it", ""),
    )


def _bought(each: pb.Round) -> str:
    """A round may be over before its trades were read: then it cannot say what it bought."""
    return NOTHING if each.result in _BOUGHT and not decimal(each.bought) else fixed(each.bought)


def _runs(services: Services, strategy_id: str, limit: int, output: Format) -> None:
    service = services.strategy
    answer = service.ask(service.stub.ListRuns, pb.ListRunsRequest(strategy_id=strategy_id))
    found = list(answer.runs)[:limit]
    rows = [_run_row(each) for each in found]
    print_rows(output, RUNS, rows, [as_dict(each) for each in found], "no run yet")
    if len(answer.runs) > limit and output is Format.TABLE:
        say(f"there are more than {limit}: --limit shows more")


def _run_row(each: pb.Run) -> tuple[str, ...]:
    ended = each.HasField("ended_at")
    lasted = (each.ended_at.ToNanoseconds() - each.started_at.ToNanoseconds()) / 1_000_000_000
    users = [
        f"{user.user_id}: {enum_word(pb.UserRunState.Name(user.outcome), 'USER_RUN_STATE_')}"
        + (f" ({len(user.left_open_order_ids)} left open)" if user.left_open_order_ids else "")
        for user in each.users
    ]
    return (
        each.strategy_id,
        each.started_at.ToJsonString(),
        each.ended_at.ToJsonString() if ended else "goes on",
        duration(lasted) if ended else "",
        each.config_revision,
        ", ".join(users),
    )
