"""`otopilot config validate|show|explain|diff|schema`: the trading configuration.

Only `diff` without a second file asks a service: for the configuration that is in force.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from protos import strategy_pb2
from strategy_service.cli import clients
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, print_json, print_rows, print_table, say
from strategy_service.cli.trading import ConfigOption, path_of, read, strategy_of
from strategy_service.config import ConfigError, StrategyConfig, TradingConfig, UnknownName, load, schema
from strategy_service.config import diff as compare
from strategy_service.config import explain as explain_config

app = typer.Typer(
    add_completion=False, help="Check and explain the trading configuration.", no_args_is_help=True
)

User = Annotated[str, typer.Option("--user", help="As this user gets it.")]


@app.command()
def validate(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="As --config.")] = None,
    config: ConfigOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Check the file: every problem as file:line:column; exit code 4 when there is one."""
    if file is not None and config is not None:
        raise CliError(Exit.USAGE, "FILE and --config are the same: leave out one")
    path = path_of(file or config, clients.of(context).settings)
    if output is Format.TABLE:
        found = read(path)
        _notices(found)
        enabled, count = len(found.enabled()), len(found.strategies)
        print(
            f"{found.path}: valid, {count} {'strategy' if count == 1 else 'strategies'}, {enabled} enabled,"
            f" revision {found.revision}"
        )
        return
    try:
        found = load(path)
    except ConfigError as error:
        problems = [
            {"file": p.file, "line": p.line, "column": p.column, "path": p.path, "message": p.message}
            for p in error.problems
        ]
        print_json({"valid": False, "problems": problems}, output)
        raise CliError(Exit.CONFIG, f"the configuration cannot be used ({len(problems)} problems)") from None
    _notices(found)
    print_json({"valid": True, "file": found.path, "revision": found.revision, "problems": []}, output)


@app.command()
def show(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="One strategy; none: all.")] = "",
    config: ConfigOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Show every strategy and user with the values that are in force, all layers applied."""
    found = read(path_of(config, clients.of(context).settings))
    _notices(found)
    strategies = (strategy_of(found, strategy_id),) if strategy_id else found.strategies
    if output is not Format.TABLE:
        data = [_strategy_data(found, each) for each in strategies]
        print_rows(output, (), (), data)
        return
    for number, each in enumerate(strategies):
        if number:
            print()
        _print_strategy(found, each)


@app.command()
def explain(
    context: typer.Context,
    strategy_id: Annotated[str, typer.Argument(metavar="ID", help="Default: the only strategy.")] = "",
    key: Annotated[str, typer.Argument(metavar="KEY", help="Only this key.")] = "",
    user: User = "",
    config: ConfigOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Show which line set a value, and what it shadows."""
    found = read(path_of(config, clients.of(context).settings))
    strategy = strategy_of(found, strategy_id) if strategy_id else _only(found)
    try:
        lines = explain_config(found, strategy.strategy_id, user or None, key or None)
    except UnknownName as error:
        raise CliError(Exit.NOT_FOUND, f"{error}") from None
    rows = [
        (each.key, each.value_text, each.origin, "; ".join(f"{v} ({o})" for v, o in each.shadowed))
        for each in lines
    ]
    data = [
        {
            "key": each.key,
            "value": each.value_text,
            "origin": each.origin,
            "shadowed": [{"value": value, "origin": origin} for value, origin in each.shadowed],
        }
        for each in lines
    ]
    print_rows(output, ("key", "value", "set by", "shadows"), rows, data)


@app.command()
def diff(
    context: typer.Context,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Compare with this one; none: with what is in force."),
    ] = None,
    config: ConfigOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Show what changes: from what is in force to the file, or from the file to FILE, and what acts when."""
    services = clients.of(context)
    if other is None:
        if config is not None:
            raise CliError(Exit.USAGE, "--config is for comparing with a second FILE: name that too")
        changes, notices = _from_force(services)
    else:
        found, new = read(path_of(config, services.settings)), read(other)
        changes, notices = list(compare(found, new).lines), list(new.notices)
    for notice in notices:
        say(f"notice: {notice}")
    if output is Format.TABLE:
        for change in changes:
            print(change)
        if not changes:
            say("nothing changes")
        return
    print_rows(output, (), (), [{"change": change} for change in changes])


def _from_force(services: Services) -> tuple[list[str], list[str]]:
    service = services.strategy
    request = strategy_pb2.ReloadConfigRequest(validate_only=True)
    try:
        answer = service.ask(service.stub.ReloadConfig, request, clients.START_SECONDS)
    except CliError as error:
        if error.code is not Exit.UNREACHABLE:
            raise
        more = "; or name a second FILE to compare with: that needs no service"
        raise CliError(error.code, error.message, error.hint + more) from None
    return list(answer.changes), list(answer.notices)


@app.command("schema")
def show_schema(
    output: Annotated[
        Format, typer.Option("--output", "-o", help="json: the schema itself. table: every key.")
    ] = Format.JSON,
) -> None:
    """Print the configuration's JSON Schema, for editors; -o table lists every key with its meaning."""
    if output is Format.TABLE:
        columns = ("key", "may stand in", "default", "meaning")
        print_rows(output, columns, schema.table(), ())
    else:
        print_json(schema.schema(), output)


def _only(config: TradingConfig) -> StrategyConfig:
    if len(config.strategies) == 1:
        return config.strategies[0]
    names = ", ".join(each.strategy_id for each in config.strategies)
    raise CliError(Exit.CONFIG, f"which strategy? {config.path} has: {names}")


def _notices(config: TradingConfig) -> None:
    for notice in config.notices:
        say(f"notice: {notice}")


def _values(config: TradingConfig, strategy: StrategyConfig, user: str | None) -> dict[str, str]:
    return {each.key: each.value_text for each in explain_config(config, strategy.strategy_id, user)}


def _strategy_data(config: TradingConfig, strategy: StrategyConfig) -> dict[str, Any]:
    users = {user: _values(config, strategy, user) for user in strategy.user_ids}
    return {"strategy_id": strategy.strategy_id, **_values(config, strategy, None), "users": users}


def _print_strategy(config: TradingConfig, strategy: StrategyConfig) -> None:
    """A column a user; a value that differs from the strategy's own stands out by its row."""
    shared = _values(config, strategy, None)
    each_user = {user: _values(config, strategy, user) for user in strategy.user_ids}
    differing = [user for user, values in each_user.items() if values != shared]
    columns = [strategy.strategy_id, "all users", *(f"user {user}" for user in differing)]
    rows = [
        [
            key,
            value,
            *(
                "" if each_user[user].get(key) == value else each_user[user].get(key, "")
                for user in differing
            ),
        ]
        for key, value in shared.items()
    ]
    print_table(columns, rows)
