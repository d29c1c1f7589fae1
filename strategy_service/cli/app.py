"""The root of the command tree: names to modules, and every way a command may end.

A module is imported when its name is typed (or help is asked for); it holds a typer app per name.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from strategy_service.cli.errors import CliError, Exit

# name: (module of this package, the typer app in it), in the order of the help.
COMMANDS = {
    "run": ("run", "app"),
    "quick-start": ("quick_start", "app"),
    "status": ("status", "app"),
    "start": ("strategies", "start_app"),
    "stop": ("strategies", "stop_app"),
    "pause": ("strategies", "pause_app"),
    "resume": ("strategies", "resume_app"),
    "wait": ("wait", "app"),
    "why": ("why", "app"),
    "reload": ("strategies", "reload_app"),
    "plan": ("plan", "app"),
    "config": ("config", "app"),
    "users": ("users", "app"),
    "orders": ("orders", "app"),
    "history": ("history", "app"),
    "balances": ("accounts", "balances_app"),
    "position": ("accounts", "position_app"),
    "volume": ("accounts", "volume_app"),
    "market": ("market", "app"),
    "logs": ("logs", "app"),
    "doctor": ("doctor", "app"),
    "db": ("db", "app"),
    "rpc": ("rpc", "app"),
}


class _Nouns(TyperGroup):
    """Finds a command by importing the module that holds it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In our order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or none when there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        found = importlib.import_module(f"strategy_service.cli.{module}")
        command = typer.main.get_command(getattr(found, attribute))
        command.name = cmd_name  # a group has none of its own, and the help would list it without
        return command


app = typer.Typer(
    cls=_Nouns,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # it costs a twentieth of a start

        print(f"otopilot {metadata.version('otopilot')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run OTO order strategies for many users, on the paper exchange unless told otherwise.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 configuration or argument, 5 timeout, 6 service
    unreachable, 7 wrong state, 8 rate limited, 9 denied, 130 interrupted.
    """


def main(argv: Sequence[str] | None = None, services: Any = None) -> int:
    """Run one command line; returns its exit code. `services` replaces the ones of the settings."""
    command = typer.main.get_command(app)
    try:
        result = command.main(
            list(sys.argv[1:] if argv is None else argv),
            prog_name="otopilot",
            standalone_mode=False,
            obj=services,
        )
    except CliError as error:
        _say(error.message)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.code
    except typer.TyperException as error:
        _usage(error)
        return error.exit_code
    except typer.Abort:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough (`otopilot orders | head`); nothing more can be said to it.
        sys.stderr.close()
        return Exit.FAILED
    return int(result) if isinstance(result, int) else Exit.OK


def _say(message: str) -> None:
    print(f"otopilot: {message}", file=sys.stderr)


def _usage(error: typer.TyperException) -> None:
    context = getattr(error, "ctx", None)
    text = error.format_message()
    if not text:
        return  # a group without a command: its help has been shown
    _say(text.replace("Value error, ", "", 1))  # the parser's own words for a bad choice
    if context is not None:
        print(context.get_usage(), file=sys.stderr)
        print(f"Try '{context.command_path} --help'.", file=sys.stderr)
