"""`otopilot config validate|show|explain`: the trading configuration, without any service."""

from typing import Annotated, Any

import typer

from strategy_service.cli import clients
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, print_json, print_rows, print_table, say
from strategy_service.cli.trading import ConfigOption, path_of, read, strategy_of
from strategy_service.config import ConfigError, StrategyConfig, TradingConfig, UnknownName, load
from strategy_service.config import explain as explain_config

app = typer.Typer(
    add_completion=False, help="Check and explain the trading configuration.", no_args_is_help=True
)

User = Annotated[str, typer.Option("--user", help="As this user gets it.")]


@app.command()
def validate(context: typer.Context, config: ConfigOption = None, output: Output = Format.TABLE) -> None:
    """Check the file: every problem as file:line:column; exit code 4 when there is one."""
    path = path_of(config, clients.of(context).settings)
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
