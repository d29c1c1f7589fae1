"""`python -m order_service.db check|backup|upgrade FILE`: the journal's file, looked after by a person.

`otopilot db` runs it. A program of its own, because the services never import each other and the
client of three services needs no database.
"""

import argparse
import json
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from order_service import check, journal_file, upgrade
from order_service.check import Damaged, OtherSchema, Sound
from order_service.records import SCHEMA_VERSION
from otopilot.rpc import RefuseStart

OK, FAILED, NOT_FOUND, WRONG_STATE = 0, 1, 3, 7  # exit codes of the `otopilot` command


class _Ends(Exception):
    """The command ends with this code and these words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code. Data goes to stdout, everything else to stderr."""
    arguments = _parser().parse_args(argv)
    path: Path = arguments.file
    try:
        if not path.is_file():
            raise _Ends(NOT_FOUND, f"there is no journal at {path}")
        said = arguments.does(path, arguments)
    except _Ends as end:
        print(f"otopilot: {end}", file=sys.stderr)
        return end.code
    except Damaged as damage:
        print(f"otopilot: {path} is damaged: {damage}\n  {journal_file.RESTORE}", file=sys.stderr)
        return FAILED
    except (RefuseStart, upgrade.Refused) as refusal:
        print(f"otopilot: {refusal}", file=sys.stderr)
        return WRONG_STATE
    except (OSError, sqlite3.Error) as error:
        print(f"otopilot: {path}: {error}", file=sys.stderr)
        return FAILED
    if arguments.json:
        print(json.dumps(said))
    else:
        for name, value in said.items():
            print(f"{name:<9}  {value}")
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="otopilot db", description="Look after the order journal.")
    verbs = parser.add_subparsers(required=True)
    for verb, does in (("check", _check), ("backup", _backup), ("upgrade", _upgrade)):
        one = verbs.add_parser(verb)
        one.add_argument("file", type=Path, help="the journal")
        one.add_argument("--json", action="store_true")
        one.set_defaults(does=does)
        if verb == "check":
            one.add_argument("--replay", action="store_true", help="fold every order's events again")
        if verb == "backup":
            one.add_argument("--to", type=Path, help="the copy; must not be there yet")
    return parser


def _check(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """In one snapshot, also while the service runs."""
    connection = journal_file.connect(path, read_only=True)
    try:
        if check.is_empty(connection):
            raise _Ends(FAILED, f"{path} is empty: no journal was made in it")
        return _words(path, check.verify(connection, replay=arguments.replay))
    except OtherSchema as other:
        raise _Ends(WRONG_STATE, f"{path}: {other}; {journal_file.way_out(other)}") from other
    finally:
        connection.close()


def _backup(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    to = arguments.to or upgrade.backup_path(path, datetime.now(UTC), "backup")
    sound = upgrade.backup(path, to)
    return {"backup": str(to)} | (_words(to, sound) if sound else {})


def _upgrade(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    version, kept = upgrade.upgrade(path, datetime.now(UTC))
    said: dict[str, Any] = {"journal": str(path), "was": version, "is": SCHEMA_VERSION}
    return said if kept is None else said | {"backup": str(kept)}


def _words(path: Path, sound: Sound) -> dict[str, Any]:
    return {
        "journal": str(path),
        "orders": sound.orders,
        "events": sound.events,
        "trades": sound.trades,
        "replayed": "yes" if sound.replayed else "no",
        "verdict": "sound",
    }


if __name__ == "__main__":
    sys.exit(main())
