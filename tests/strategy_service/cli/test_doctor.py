"""`otopilot doctor`: each subject's good and bad case, on files, ports and services of the test."""

import json
import socket
import time
from concurrent import futures
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from otopilot.settings import Settings
from protos import market_pb2, order_pb2_grpc
from protos import order_pb2 as pb
from strategy_service.cli import checks, checks_of_services
from strategy_service.cli.app import main
from strategy_service.cli.checks import Verdict
from strategy_service.cli.clients import Services
from strategy_service.cli.paper import Control
from strategy_service.config import load_bytes

CONFIG = """\
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: 100
    user_ids: [1, 2, 3]
"""
TRADING = load_bytes(CONFIG.encode(), "x.yaml")


def settings_of(tmp_path, **changes):
    return Settings.model_validate({"data_dir": tmp_path / "paper"} | changes)


def one(findings, check):
    (found,) = [each for each in findings if each.check == check]
    return found


# ------------------------------------------------------------------ environment


def test_a_variable_that_sets_nothing_is_named_with_the_one_that_was_meant(monkeypatch):
    monkeypatch.setenv("OTOPILOT_ORDER__PORT", "50052")
    monkeypatch.setenv("OTOPILOT_DATA_DIR", "var/paper")
    monkeypatch.setenv("OTOPILOT_TESTNET_KIND", "rsa")
    assert list(checks.environment()) == []
    monkeypatch.setenv("OTOPILOT_ORDER_PORT", "50052")
    (found,) = checks.environment()
    assert found.verdict is Verdict.WARNING
    assert "OTOPILOT_ORDER_PORT sets nothing (did you mean OTOPILOT_ORDER__PORT?)" in found.detail


# ------------------------------------------------------------------ files


@pytest.fixture
def world(tmp_path):
    keys = tmp_path / "paper" / "keys"
    keys.mkdir(parents=True)
    (keys / "master.key").write_bytes(b"k" * 32)
    (keys / "master.key").chmod(0o600)
    (tmp_path / "paper" / "order.db").touch(mode=0o600)
    return tmp_path


def test_a_data_directory_in_order_is_ok(world):
    found = list(checks.files(settings_of(world)))
    assert {each.verdict for each in found} == {Verdict.OK}
    assert one(found, "permissions of master.key").detail == "0600, its owner only"


def test_a_key_that_others_may_read_is_an_error_and_says_what_to_do(world):
    (world / "paper" / "keys" / "master.key").chmod(0o644)
    (world / "paper" / "order.db").chmod(0o640)
    found = list(checks.files(settings_of(world)))
    key = one(found, "permissions of master.key")
    assert key.verdict is Verdict.ERROR
    assert "chmod 600" in key.what_to_do
    assert "rotate" in key.what_to_do
    assert one(found, "permissions of order.db").verdict is Verdict.WARNING


def test_a_data_directory_that_is_not_there_is_no_error(tmp_path):
    found = list(checks.files(settings_of(tmp_path)))
    assert one(found, "data directory").verdict is Verdict.NOTE


@pytest.mark.parametrize(("free", "verdict"), [(2 << 30, Verdict.OK), (1 << 29, Verdict.WARNING)])
def test_a_disk_with_less_than_a_gibibyte_is_a_warning(world, monkeypatch, free, verdict):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))
    assert one(checks.files(settings_of(world)), "disk space").verdict is verdict


# ------------------------------------------------------------------ configuration, terms, versions


def test_problems_and_notices_of_the_configuration_are_told(tmp_path):
    assert one(checks.trading_config(TRADING), "configuration").verdict is Verdict.OK
    path = tmp_path / "bad.yaml"
    path.write_text("strategies:\n  - strategy_id: x\n    targt: 5\n")
    with pytest.raises(checks.ConfigError) as raised:
        load_bytes(path.read_bytes(), str(path))
    found = list(checks.trading_config(raised.value))
    assert {each.verdict for each in found} == {Verdict.ERROR}
    assert any("bad.yaml:3:5" in each.detail for each in found)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.NOTE),
        ({"mode": "live"}, Verdict.ERROR),
        ({"mode": "live", "alpha_terms_acknowledged": True}, Verdict.WARNING),
    ],
)
def test_the_rules_about_alpha_are_always_told(tmp_path, changes, verdict):
    found = one(checks.alpha_terms(settings_of(tmp_path, **changes), TRADING), "alpha terms")
    assert found.verdict is verdict
    assert "forbid automated trading for Alpha Points" in found.detail


def test_live_is_said_in_capitals(tmp_path):
    assert "LIVE" in one(checks.mode(settings_of(tmp_path, mode="live")), "mode").detail


def test_generated_code_of_another_grpc_is_an_error(monkeypatch):
    assert {each.verdict for each in checks.versions()} == {Verdict.OK}
    monkeypatch.setattr(checks.strategy_pb2_grpc, "GRPC_GENERATED_VERSION", "1.0.0")
    assert Verdict.ERROR in {each.verdict for each in checks.versions()}


# ------------------------------------------------------------------ ports and clock


def test_a_port_that_somebody_else_holds_is_an_error_and_a_free_one_a_note(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
        other.close()
        settings = settings_of(
            tmp_path, order={"port": taken.getsockname()[1]}, market={"port": free}, strategy={"port": free}
        )
        found = list(checks.ports(settings, ["paper-exchange", "strategy-service"]))
    assert one(found, "order-service").verdict is Verdict.ERROR
    assert one(found, "market-service").verdict is Verdict.NOTE
    assert [each.check for each in found] == ["market-service", "order-service"]


@pytest.mark.parametrize(
    ("off_ms", "verdict"), [(0, Verdict.OK), (5000, Verdict.WARNING), (-5000, Verdict.WARNING)]
)
def test_a_clock_that_is_off_by_more_than_half_of_recv_window_is_a_warning(
    tmp_path, monkeypatch, off_ms, verdict
):
    monkeypatch.setattr(Control, "world", lambda self: {"now": time.time_ns() // 1_000_000 + off_ms})
    assert one(checks.clock(settings_of(tmp_path)), "clock").verdict is verdict


def test_a_venue_whose_clock_cannot_be_read_is_a_note(tmp_path):
    settings = settings_of(tmp_path, paper={"url": "http://127.0.0.1:1"})
    assert one(checks.clock(settings), "clock").verdict is Verdict.NOTE


# ------------------------------------------------------------------ services that run


class Admin(order_pb2_grpc.OrderAdminServiceServicer):
    """Users and counters as the test wants them."""

    def __init__(self):
        ready, alpha = pb.USER_STATE_READY, market_pb2.VENUE_ALPHA
        self.users = [pb.User(user_id=str(n), venue=alpha, state=ready) for n in (1, 2, 3)]
        self.counters = pb.GetCountersResponse(
            guard=pb.GuardCounters(admitted=7),
            budgets=[pb.BudgetCounters(venue=alpha, rotation_ms=2500, used_weight=3, weight_limit=5400)],
        )

    def ListUsers(self, request, context):
        return pb.ListUsersResponse(users=self.users)

    def GetCounters(self, request, context):
        return self.counters


@pytest.fixture
def admin():
    return Admin()


@pytest.fixture
def services(admin, tmp_path):
    """An order service with health and reflection; nothing else is up."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    status = health.HealthServicer()
    status.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    order_pb2_grpc.add_OrderAdminServiceServicer_to_server(admin, server)
    reflection.enable_server_reflection(("otopilot.order.v1.OrderAdminService",), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    settings = settings_of(
        tmp_path,
        order={"port": port},
        market={"port": 1},
        strategy={"port": 1},
        paper={"url": "http://127.0.0.1:1"},
    )
    yield Services(settings)
    server.stop(0).wait()


def test_a_service_that_serves_our_contract_is_ok(services):
    ((name, found),) = checks_of_services.health(services)
    assert (name, found.verdict) == ("order-service", Verdict.OK)


def test_a_service_of_another_version_is_an_error(services, monkeypatch):
    newer = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    newer.service[0].method.add(name="NobodyHasThisYet")
    ours = SimpleNamespace(name="protos/order.proto", serialized_pb=newer.SerializeToString())
    monkeypatch.setitem(checks_of_services._FILES, "order-service", ours)
    ((_, found),) = checks_of_services.health(services)
    assert found.verdict is Verdict.ERROR
    assert "restart it" in found.what_to_do


def test_every_configured_user_needs_a_credential_that_works(services, admin):
    assert one(checks_of_services.credentials(services, TRADING), "credentials").detail.startswith("3 of 3")
    admin.users[1].state, admin.users[1].reason = pb.USER_STATE_STOPPED, "key revoked"
    del admin.users[2]
    stopped, missing, good = checks_of_services.credentials(services, TRADING)
    assert [stopped.verdict, missing.verdict, good.verdict] == [Verdict.ERROR, Verdict.ERROR, Verdict.OK]
    assert stopped.what_to_do == "`otopilot users rotate 2 --venue alpha`"
    assert "key revoked" in stopped.detail
    assert missing.what_to_do == "`otopilot users add 3 --venue alpha --paper`"
    assert good.detail.startswith("1 of 3")


def test_the_rotation_of_sweeps_and_a_ban_are_told(services, admin):
    found = one(checks_of_services.budgets(services), "sweeps on alpha")
    assert found == checks.ok("sweeps on alpha", "rotation of sweeps 2.5 s, 3 of 5400 weight used")
    admin.counters.budgets[0].closed_until.FromSeconds(1_800_000_000)
    found = one(checks_of_services.budgets(services), "sweeps on alpha")
    assert found.verdict is Verdict.WARNING
    assert "closed until 2027" in found.detail


def test_managed_orders_that_met_are_an_error(services, admin):
    assert one(checks_of_services.budgets(services), "self-match guard").verdict is Verdict.OK
    admin.counters.guard.shared_trades = 1
    assert one(checks_of_services.budgets(services), "self-match guard").verdict is Verdict.ERROR


def test_denials_and_waits_of_guard_and_budget_are_told(services, admin):
    quiet = one(checks_of_services.budgets(services), "self-match guard")
    assert quiet.detail == "7 admitted, 0 denied, 0 waits, none met"
    admin.counters.guard.MergeFrom(
        pb.GuardCounters(denied_by_orders=30, denied_by_waiters=4, waits=12, longest_wait_ms=2140)
    )
    admin.counters.budgets[0].MergeFrom(pb.BudgetCounters(waited=9, denied=2))
    found = one(checks_of_services.budgets(services), "self-match guard")
    assert (found.verdict, found.detail) == (
        Verdict.OK,
        "7 admitted, 34 denied, 12 waits of 2.1 s at most, none met",
    )
    budget = one(checks_of_services.budgets(services), "sweeps on alpha")
    assert budget.detail.endswith("3 of 5400 weight used, 9 requests waited, 2 placements denied")


# ------------------------------------------------------------------ the command


def test_doctor_exits_with_1_when_a_check_failed_and_0_when_none_did(services, admin, tmp_path, capsys):
    path = tmp_path / "trading.yaml"
    path.write_text(CONFIG)
    argv = ["doctor", "--config", str(path)]
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    usable = settings_of(
        tmp_path,
        order={"port": services.settings.order.port},
        market={"port": port},
        strategy={"port": port},
        paper={"url": f"http://127.0.0.1:{port}"},
    )
    assert main([*argv, "-o", "json"], Services(usable)) == 0
    found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["credentials"]["verdict"] == "ok"
    assert found["market-service"]["verdict"] == "note"
    assert {"version", "mode", "alpha terms", "configuration", "disk space", "clock"} <= set(found)
    del admin.users[0]
    assert main(argv, Services(usable)) == 1
    out, err = capsys.readouterr()
    assert "user 1 on alpha has none" in out
    assert "otopilot users add 1 --venue alpha --paper" in err
    assert "1 check failed" in err
