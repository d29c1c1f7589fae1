"""What goes to stdout: tables for people, JSON for programs.

json is one document, jsonl one object a line. Protobuf messages become objects with the field
names of protos/*.proto and every field present; amounts stay exact strings.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

GAP = 2  # between columns
LEAST_PROSE = 16  # columns in which words can still be read


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the data.")]


def say(text: str) -> None:
    """Everything that is not data."""
    print(text, file=sys.stderr, flush=True)


def as_dict(message: Any) -> dict[str, Any]:
    """A protobuf message as plain data, fields in the contract's order."""
    from google.protobuf import json_format

    data = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _ordered(data, message.DESCRIPTOR)


def _ordered(data: dict[str, Any], descriptor: Any) -> dict[str, Any]:
    """protobuf puts fields that have no value last, wherever they belong."""
    ordered: dict[str, Any] = {}
    for field in descriptor.fields:
        value = data.get(field.name)
        if isinstance(value, dict):
            value = _ordered(value, field.message_type)
        elif isinstance(value, list) and field.message_type is not None:
            value = [_ordered(each, field.message_type) for each in value]
        if field.name in data:
            ordered[field.name] = value
    return ordered


def print_json(value: Any, output: Format) -> None:
    """One value as a document, or as one line."""
    indent = 2 if output is Format.JSON else None
    print(json.dumps(value, ensure_ascii=False, indent=indent), flush=True)


def print_rows(
    output: Format,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    data: Sequence[Any],
    empty: str = "nothing to show",
) -> None:
    """A list: `rows` for the table, `data` for JSON."""
    if output is Format.JSON:
        print_json(list(data), output)
    elif output is Format.JSONL:
        for each in data:
            print_json(each, output)
    else:
        lines = [tuple(row) for row in rows]
        if lines:
            print_table(columns, lines)
        else:
            say(empty)


def print_record(output: Format, fields: Mapping[str, str], data: Any) -> None:
    """One thing: name and value a line for people."""
    if output is not Format.TABLE:
        print_json(data, output)
        return
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        print(f"{name:<{width}}  {value}", flush=True)


def is_narrow(columns: int) -> bool:
    """Is there a terminal with fewer columns? A pipe has no edge."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns < columns


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns that line up. Where a terminal has no room, the widest column wraps, and no other:
    an id in two pieces cannot be copied. A line that is longer still is left to the terminal."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    prose = widths.index(max(widths))
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number != prose)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    others = sum(widths) - widths[prose] + GAP * len(widths)
    if not console.is_terminal or console.width - others < min(LEAST_PROSE, widths[prose]):
        console.width = others + widths[prose]  # a pipe has no edge: a line stays a line
    console.print(table)
