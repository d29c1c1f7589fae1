"""`otopilot quick-start`: one user, one token, no file to write. It counts from its own start."""

import json
import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from strategy_service.cli import clients, launch, session, worlds
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, say
from strategy_service.cli.run import LiveOption, check_mode
from strategy_service.cli.session import Job
from strategy_service.cli.trading import read_text

app = typer.Typer(add_completion=False)

_NUMBER = re.compile(r"[0-9A-Za-z.+_-]{1,40}", re.ASCII)
_USER = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)


@app.command("quick-start")
def quick_start(
    context: typer.Context,
    token: Annotated[str, typer.Option("--token", help="Such as KOGE.")],
    volume: Annotated[str, typer.Option("--volume", help="USDT to reach, from now on.")],
    chain: Annotated[str, typer.Option("--chain", help="Such as BSC; none: Spot.")] = "",
    amount: Annotated[str, typer.Option("--amount", help="USDT of one cycle.")] = "30",
    user: Annotated[str, typer.Option("--user", help="Who trades.")] = "1",
    interval: Annotated[str, typer.Option("--interval", help="Seconds from one start to the next.")] = "1",
    live: LiveOption = False,
    output: Output = Format.TABLE,
) -> int:
    """Trade one token for one user until the volume is reached."""
    services = clients.of(context)
    settings = services.settings
    check_mode(settings, live)
    text = document(token, chain, volume, amount, user, interval, datetime.now(UTC))
    path = settings.data_dir / "quick-start" / f"quick_start_{user}.yaml"
    trading = read_text(text, path)
    for notice in trading.notices:
        say(f"notice: {notice}")
    launch.check_ports(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return session.run(services, Job(worlds.World(settings.data_dir), trading), output)


def document(
    token: str, chain: str, volume: str, amount: str, user: str, interval: str, since: datetime
) -> str:
    """The configuration of such a run. Numbers go in as typed: the strict loader judges them."""
    for name, number in (("--volume", volume), ("--amount", amount), ("--interval", interval)):
        if not _NUMBER.fullmatch(number):
            raise CliError(Exit.CONFIG, f"{name}: {number[:40]!r} is no number")
    if not _USER.fullmatch(user):
        raise CliError(Exit.CONFIG, f"--user: {user[:64]!r} is no user id (letters, digits, . _ -)")
    market = f"    target_chain: {_quoted(chain)}\n" if chain else "    venue: spot\n"
    return (
        "# Written by `otopilot quick-start`; made anew each time.\n"
        "strategies:\n"
        f"  - strategy_id: {_quoted(f'quick_start_{user}')}\n"
        f"    target_token: {_quoted(token)}\n"
        f"{market}"
        f"    target_volume: {volume}\n"
        "    volume_window:\n"
        f"      since: {since.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}\n"
        f"    single_trade_amount_usdt: {amount}\n"
        f"    trade_interval_seconds: {interval}\n"
        f"    user_ids: [{_quoted(user)}]\n"
    )


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; JSON's strings are a subset of them."""
    return json.dumps(text, ensure_ascii=False)
