"""Every way a call can fail has its exit code, and its message says what to do (product 4)."""

from importlib import metadata

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from otopilot.settings import Settings
from protos import strategy_pb2
from strategy_service.cli.app import COMMANDS, main
from strategy_service.cli.clients import EXIT_OF, Services
from strategy_service.cli.errors import Exit

TABLE = {
    grpc.StatusCode.NOT_FOUND: 3,
    grpc.StatusCode.INVALID_ARGUMENT: 4,
    grpc.StatusCode.OUT_OF_RANGE: 4,
    grpc.StatusCode.DEADLINE_EXCEEDED: 5,
    grpc.StatusCode.UNAVAILABLE: 6,
    grpc.StatusCode.FAILED_PRECONDITION: 7,
    grpc.StatusCode.ALREADY_EXISTS: 7,
    grpc.StatusCode.ABORTED: 7,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 8,
    grpc.StatusCode.PERMISSION_DENIED: 9,
    grpc.StatusCode.UNAUTHENTICATED: 9,
    grpc.StatusCode.INTERNAL: 1,
    grpc.StatusCode.UNKNOWN: 1,
    grpc.StatusCode.UNIMPLEMENTED: 1,
    grpc.StatusCode.DATA_LOSS: 1,
}


def told_by_service(code, message):
    """What the chassis of a service puts on the wire for a Fault."""
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="REASON", domain="otopilot"))
    return rpc_status.to_status(status).trailing_metadata


@pytest.mark.parametrize(("code", "exit_code"), TABLE.items(), ids=lambda value: str(value))
def test_a_refusal_ends_with_the_exit_code_of_its_kind_and_the_services_own_words(
    wire, capsys, code, exit_code
):
    done = wire.run("status", "koge")
    wire.answer(
        "GetStrategyStatus",
        strategy_pb2.StrategyStatus(),
        code,
        "no strategy koge; there is koge_demo",
        told_by_service(code, "no strategy koge; there is koge_demo"),
    )
    assert done.result(5) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    if code is not grpc.StatusCode.DEADLINE_EXCEEDED:
        assert "no strategy koge; there is koge_demo" in err


def test_every_status_code_has_an_exit_code():
    assert set(EXIT_OF) == set(grpc.StatusCode)


@pytest.mark.parametrize(
    ("argv", "service", "port"),
    [
        (("status",), "strategy-service", 50053),
        (("orders",), "order-service", 50052),
        (("market", "price", "ALPHA_22USDT"), "market-service", 50051),
    ],
)
def test_a_service_that_is_not_up_is_named_with_its_address_and_how_to_start_it(
    wire, capsys, argv, service, port
):
    done = wire.run(*argv)
    method = {"status": "ListStrategies", "orders": "ListOrders", "market": "GetInstrument"}[argv[0]]
    wire.answer(method, None, grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")
    assert done.result(5) == 6
    err = capsys.readouterr().err
    assert f"{service} is not up at 127.0.0.1:{port}" in err
    assert "otopilot run" in err
    assert f"python -m {service.replace('-', '_')}" in err


def test_a_real_connection_that_is_refused_is_unreachable_at_once(capsys):
    settings = Settings.model_validate({"strategy": {"port": 1}})
    assert main(["status"], Services(settings)) == Exit.UNREACHABLE
    assert "strategy-service is not up at 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["stop", "--mode", "gently"],
        ["orders", "cancel", "o1"],
        ["status", "-o", "xml"],
        ["run", "--demo", "--config", "x.yaml"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_prints_no_data(wire, capsys, argv):
    assert wire.run(*argv).result(5) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("otopilot: ")
    assert "Value error" not in err


def test_the_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    rows = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines()]
    assert set(COMMANDS) <= {row[0] for row in rows if row}


def test_the_version_is_that_of_the_distribution(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"otopilot {metadata.version('otopilot')}\n"


def test_a_symbol_without_a_venue_is_told_which_option_is_missing(wire, capsys):
    assert wire.run("market", "price", "BTCUSDT").result(5) == 4
    err = capsys.readouterr().err
    assert "on which venue is BTCUSDT?" in err
    assert "--venue spot" in err
