"""`otopilot wait ID --for reached`: returns when a strategy is where a script wants it.

Follows the service over its restarts; asks for nothing and changes nothing.
"""

import time
from enum import StrEnum
from typing import Annotated

import typer

from protos import strategy_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, say
from strategy_service.cli.status import print_statuses, state_word
from strategy_service.cli.watcher import Watcher

app = typer.Typer(add_completion=False)

STEP_SECONDS = 0.1

_ARRIVED = frozenset({pb.USER_RUN_STATE_REACHED, pb.USER_RUN_STATE_SKIPPED})
_ENDED = _ARRIVED | {
    pb.USER_RUN_STATE_STOPPED,
    pb.USER_RUN_STATE_COST_LIMIT,
    pb.USER_RUN_STATE_IDLE,
}


class Goal(StrEnum):
    """What is waited for."""

    REACHED = "reached"
    ENDED = "ended"
    RUNNING = "running"


@app.command()
def wait(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="The strategy.")],
    goal: Annotated[
        Goal,
        typer.Option(
            "--for",
            help="reached: the target is met. ended: no loop runs. running: every user's loop trades.",
        ),
    ] = Goal.REACHED,
    user: Annotated[str, typer.Option("--user", help="Only this user.")] = "",
    seconds: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="Give up after so many seconds (exit 5).")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Return when the strategy is there; exit 1 when it cannot get there any more by itself."""
    service = clients.of(context).strategy
    request = pb.GetStrategyStatusRequest(strategy_id=strategy_id)
    newest = service.ask(service.stub.GetStrategyStatus, request)
    if user and not any(each.user_id == user for each in newest.users):
        raise CliError(Exit.NOT_FOUND, f"strategy {strategy_id} has no user {user}")
    deadline = None if seconds is None else time.monotonic() + seconds
    trouble = ""
    with Watcher(service, [strategy_id]) as watcher:
        while (verdict := _verdict(newest, goal, user)) is None:
            if deadline is not None and time.monotonic() > deadline:
                print_statuses([newest], output, one=True)
                raise CliError(Exit.TIMEOUT, f"strategy {strategy_id} is not {goal} after {seconds:g} s")
            time.sleep(STEP_SECONDS)
            newest = watcher.newest().get(strategy_id, newest)
            if watcher.trouble() != trouble:
                trouble = watcher.trouble()
                say(f"{trouble}: waiting for it to come back" if trouble else "strategy-service is back")
    print_statuses([newest], output, one=True)
    if verdict:
        raise CliError(Exit.FAILED, f"strategy {strategy_id} will not be {goal}: {verdict}")


def _verdict(strategy: pb.StrategyStatus, goal: Goal, user: str) -> str | None:
    """None: not yet. Empty: there. Else why it will never be, unless a person acts."""
    users = [each for each in strategy.users if user in ("", each.user_id)]
    if goal is Goal.RUNNING:
        there = bool(users) and all(each.state == pb.USER_RUN_STATE_RUNNING for each in users)
        return "" if there else _stuck([each for each in users if each.state not in _ENDED])
    ended = all(each.state in _ENDED for each in users)
    if goal is Goal.ENDED:
        return "" if ended and not strategy.is_running else None
    shared = strategy.target_scope != "per_user"
    arrived = [each.state in _ARRIVED for each in users]
    if users and (all(arrived) or (shared and not user and any(arrived) and ended)):
        return ""
    others = [each for each in users if each.state not in _ARRIVED]
    if shared and not user and any(arrived):
        return None  # the others wind down
    if all(each.state in _ENDED for each in others):
        return _stuck(others) or "it does not run"
    return _stuck(others) if all(_needs_person(each) or each.state in _ENDED for each in others) else None


def _stuck(users: list[pb.UserStatus]) -> str | None:
    """What holds these users, when nothing but a person moves them."""
    held = [each for each in users if _needs_person(each) or each.state in _ENDED]
    if not held or len(held) < len(users):
        return None
    return "; ".join(f"user {each.user_id}: {each.reason or state_word(each)}" for each in held)


def _needs_person(user: pb.UserStatus) -> bool:
    return user.state == pb.USER_RUN_STATE_NEEDS_PERSON
