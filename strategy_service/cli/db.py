"""`otopilot db check|backup|upgrade`: the order service's journal, as a file.

The only commands that work on a file and not on a service: they are for when it does not start, and
for copies. The order service's own program does the work; this names the file.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from strategy_service.cli import clients
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output

app = typer.Typer(
    add_completion=False, help="The order journal: check, back up, upgrade.", no_args_is_help=True
)

PROGRAM = "order_service.db"
JOURNAL = "order.db"

Journal = Annotated[
    Path | None, typer.Option("--journal", help="The file; none: order.db of the settings' data directory.")
]


@app.command()
def check(
    context: typer.Context,
    journal: Journal = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also fold every order's events and compare the results.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Verify pages, checksums, sequences and totals; also while the service runs."""
    _run(context, "check", journal, output, *(["--replay"] if replay else []))


@app.command()
def backup(
    context: typer.Context,
    journal: Journal = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The copy; none: backups/ beside the journal.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a consistent, checked copy; also while the service runs. docs/restore.md tells how to use it."""
    _run(context, "backup", journal, output, *(["--to", str(to)] if to else []))


@app.command()
def upgrade(context: typer.Context, journal: Journal = None, output: Output = Format.TABLE) -> None:
    """Bring a journal of an older version to the newest schema; the service must be stopped.

    A backup is made first; the upgrade is all or nothing.
    """
    _run(context, "upgrade", journal, output)


def _run(context: typer.Context, verb: str, journal: Path | None, output: Format, *more: str) -> None:
    path = journal or clients.of(context).settings.data_dir / JOURNAL
    form = [] if output is Format.TABLE else ["--json"]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", PROGRAM, verb, str(path), *form, *more],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        message, _, hint = done.stderr.strip().removeprefix("otopilot: ").partition("\n")
        code = Exit(done.returncode) if done.returncode in set(Exit) else Exit.FAILED
        if code is Exit.NOT_FOUND and journal is None:
            hint = _newest(path.parent.parent)
        raise CliError(code, message or f"{PROGRAM} ended with {done.returncode}", hint.strip())
    typer.echo(done.stdout, nl=False)


def _newest(root: Path) -> str:
    """Where a journal is, when there is none in the data directory: `make run` has worlds of its own."""
    found = sorted(root.glob(f"*/{JOURNAL}"), key=lambda path: path.stat().st_mtime)
    return f"the newest there is: --journal {found[-1]}" if found else "`otopilot run` writes it"
