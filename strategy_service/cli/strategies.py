"""`otopilot start|stop|pause|resume|reload`: what a person asks of the strategy service."""

from enum import StrEnum
from typing import Annotated
from uuid import uuid4

import typer

from protos import strategy_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.amounts import first
from strategy_service.cli.clients import START_SECONDS, STOP_SECONDS
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, as_dict, print_json, say
from strategy_service.cli.status import print_statuses

start_app = typer.Typer(add_completion=False)
stop_app = typer.Typer(add_completion=False)
pause_app = typer.Typer(add_completion=False)
resume_app = typer.Typer(add_completion=False)
reload_app = typer.Typer(add_completion=False)


class Mode(StrEnum):
    """How a run is ended."""

    DRAIN = "drain"
    CANCEL = "cancel"
    FLATTEN = "flatten"


MODES = {
    Mode.DRAIN: pb.STOP_MODE_DRAIN,
    Mode.CANCEL: pb.STOP_MODE_CANCEL,
    Mode.FLATTEN: pb.STOP_MODE_FLATTEN,
}


@start_app.command()
def start(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="The strategy to start.")],
    output: Output = Format.TABLE,
) -> None:
    """Start the loops of a strategy; one that runs already goes on."""
    service = clients.of(context).strategy
    request = pb.StartStrategyRequest(strategy_id=strategy_id, request_id=_request_id())
    answer = service.ask(service.stub.StartStrategy, request, START_SECONDS)
    print_statuses(answer.strategies, output, one=True)


@stop_app.command()
def stop(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="The strategy to stop; none: all.")] = "",
    user: Annotated[str, typer.Option("--user", help="Only this user.")] = "",
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="drain: SELLs rest. cancel: our orders go. flatten: then the inventory is sold.",
        ),
    ] = Mode.DRAIN,
    output: Output = Format.TABLE,
) -> None:
    """Stop all, one strategy or one user, and say what is left open."""
    service = clients.of(context).strategy
    request = pb.StopStrategyRequest(
        strategy_id=strategy_id, user_id=user, mode=MODES[mode], request_id=_request_id()
    )
    answer = service.ask(service.stub.StopStrategy, request, STOP_SECONDS)
    print_statuses(answer.strategies, output, one=bool(strategy_id))
    for strategy in answer.strategies:
        for each in strategy.users:
            if each.left_open_order_ids:
                where = f"otopilot orders --open --strategy {strategy.strategy_id} --user {each.user_id}"
                left = first(each.left_open_order_ids, where)
                say(f"{strategy.strategy_id}, user {each.user_id}: left open: {left}")


PausedId = Annotated[str, typer.Argument(metavar="ID", help="The strategy; none: all that run.")]
UserOption = Annotated[str, typer.Option("--user", help="Only this user.")]


@pause_app.command()
def pause(
    context: typer.Context, strategy_id: PausedId = "", user: UserOption = "", output: Output = Format.TABLE
) -> None:
    """Place no new BUY, until `resume`; what is open goes on, also over a restart."""
    service = clients.of(context).strategy
    request = pb.PauseStrategyRequest(strategy_id=strategy_id, user_id=user, request_id=_request_id())
    answer = service.ask(service.stub.PauseStrategy, request)
    print_statuses(answer.strategies, output, one=bool(strategy_id))
    what = _meant(strategy_id, user)
    say(f"paused {what}: each loop takes it up at its next step; `otopilot resume` ends it")


@resume_app.command()
def resume(
    context: typer.Context, strategy_id: PausedId = "", user: UserOption = "", output: Output = Format.TABLE
) -> None:
    """End a pause; who is not paused goes on as before."""
    service = clients.of(context).strategy
    request = pb.ResumeStrategyRequest(strategy_id=strategy_id, user_id=user, request_id=_request_id())
    answer = service.ask(service.stub.ResumeStrategy, request)
    print_statuses(answer.strategies, output, one=bool(strategy_id))
    say(f"resumed {_meant(strategy_id, user)}: each loop takes it up at its next step")


def _meant(strategy_id: str, user: str) -> str:
    return (strategy_id or "all strategies") + (f", user {user}" if user else "")


def _request_id() -> str:
    return f"cli-{uuid4().hex}"


@reload_app.command("reload")
def reload_config(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Read the configuration file again; a bad file changes nothing."""
    service = clients.of(context).strategy
    request = pb.ReloadConfigRequest(validate_only=dry_run)
    try:
        answer = service.ask(service.stub.ReloadConfig, request, START_SECONDS)
    except CliError as error:
        if error.code is not Exit.CONFIG:
            raise
        raise CliError(error.code, error.message, "nothing changed: what was in force stays") from None
    for notice in answer.notices:
        say(f"notice: {notice}")
    if output is not Format.TABLE:
        print_json(as_dict(answer), output)
        return
    for change in answer.changes:
        print(change)
    if not answer.changes:
        say("nothing changes")
    say(f"revision in force: {answer.config_revision}")
