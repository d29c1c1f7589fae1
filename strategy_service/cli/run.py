"""`otopilot run`: the whole system on one command, with a live screen."""

import os
from pathlib import Path
from typing import Annotated

import typer

from otopilot.settings import Settings
from strategy_service.cli import clients, launch, session, worlds
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, say
from strategy_service.cli.session import Job
from strategy_service.cli.trading import ConfigOption, path_of, read, strategy_of

app = typer.Typer(add_completion=False)

DEMO_ROOT = Path("var")

LiveOption = Annotated[
    bool, typer.Option("--live", help="Trade for real; also needs mode: live in config/services.yaml.")
]


@app.command()
def run(
    context: typer.Context,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="ID", help="Only this one; default: all that are enabled.")
    ] = "",
    config: ConfigOption = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Three paper users trade until the target is reached.")
    ] = False,
    new_world: Annotated[
        bool, typer.Option("--new-world", help="Begin a new paper world; the old one is kept beside it.")
    ] = False,
    live: LiveOption = False,
    output: Output = Format.TABLE,
) -> int:
    """Start everything, trade until every target is reached, and say what came of it.

    Ctrl+C drains: no new orders, SELLs rest, what is left open is listed. A second one exits at once.
    """
    services = clients.of(context)
    settings = services.settings
    check_mode(settings, live)
    if demo and (config or live):
        raise CliError(Exit.USAGE, "--demo brings its own configuration and is always on paper")
    if new_world and settings.mode != "paper":
        raise CliError(Exit.USAGE, "--new-world is for paper only")
    path = worlds.DEMO_CONFIG if demo else path_of(config, settings)
    trading = read(path)
    for notice in trading.notices:
        say(f"notice: {notice}")
    if strategy and not strategy_of(trading, strategy).enabled:
        raise CliError(
            Exit.WRONG_STATE, f"strategy {strategy} has enabled: false in {trading.path}", "set it to true"
        )
    if not trading.enabled():
        raise CliError(Exit.CONFIG, f"{trading.path} has no enabled strategy", "set enabled: true in one")
    launch.check_ports(settings)
    return session.run(services, Job(_world(settings, demo, new_world), trading, strategy), output)


def check_mode(settings: Settings, live: bool) -> None:
    """Live trading needs the flag and the setting; one without the other is a mistake."""
    if live and settings.mode != "live":
        raise CliError(Exit.CONFIG, "--live also needs mode: live in config/services.yaml")
    if not live and settings.mode == "live":
        raise CliError(Exit.CONFIG, "the settings say mode: live; live trading also needs --live")


def _world(settings: Settings, demo: bool, new_world: bool) -> worlds.World:
    if demo:
        # A data directory of the environment's moves the demos too.
        root = settings.data_dir if "OTOPILOT_DATA_DIR" in os.environ else DEMO_ROOT
        return worlds.demo(root)
    return worlds.fresh(settings.data_dir) if new_world else worlds.World(settings.data_dir)
