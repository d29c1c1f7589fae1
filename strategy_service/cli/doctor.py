"""`otopilot doctor`: is everything in order, and if not, what to do."""

from collections.abc import Iterator

import typer

from strategy_service.cli import checks, checks_of_services, clients
from strategy_service.cli.checks import Finding, Verdict
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, print_json, print_table, say
from strategy_service.cli.trading import ConfigOption, path_of
from strategy_service.config import ConfigError, TradingConfig, load

app = typer.Typer(add_completion=False)


@app.command()
def doctor(context: typer.Context, config: ConfigOption = None, output: Output = Format.TABLE) -> None:
    """Check files, ports, services, clock, credentials and limits; exit 1 when something is wrong."""
    services = clients.of(context)
    loaded: TradingConfig | ConfigError
    try:
        loaded = load(path_of(config, services.settings))
    except ConfigError as error:
        loaded = error
    found = list(_findings(services, loaded))
    data = [each._asdict() for each in found]
    if output is Format.JSON:
        print_json(data, output)
    elif output is Format.JSONL:
        for line in data:
            print_json(line, output)
    else:
        print_table(("check", "", "what was found"), [(f.check, f.verdict.value, f.detail) for f in found])
        for each in found:
            if each.what_to_do and each.verdict in (Verdict.WARNING, Verdict.ERROR):
                say(f"{each.verdict}: {each.check}: {each.what_to_do}")
    if bad := sum(each.verdict is Verdict.ERROR for each in found):
        raise CliError(Exit.FAILED, f"{bad} {'check' if bad == 1 else 'checks'} failed")


def _findings(services: Services, loaded: TradingConfig | ConfigError) -> Iterator[Finding]:
    settings = services.settings
    trading = loaded if isinstance(loaded, TradingConfig) else None
    yield from checks.versions()
    yield from checks.mode(settings)
    yield from checks.environment()
    yield from checks.alpha_terms(settings, trading)
    yield from checks.trading_config(loaded)
    yield from checks.files(settings)
    up = dict(checks_of_services.health(services))
    yield from up.values()
    yield from checks.ports(settings, up)
    yield from checks.clock(settings)
    if "order-service" not in up:
        return
    try:
        if trading is not None:
            yield from checks_of_services.credentials(services, trading)
        yield from checks_of_services.budgets(services)
    except CliError as error:
        yield Finding("order-service", Verdict.WARNING, error.message, "try again in a moment")
