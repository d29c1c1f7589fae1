"""The steps of `run`, against services and an exchange that the test plays over real sockets."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from otopilot.settings import Settings
from protos import order_pb2_grpc, strategy_pb2_grpc
from protos import strategy_pb2 as strategies
from strategy_service.cli import launch
from strategy_service.cli.app import main
from strategy_service.cli.clients import Services
from strategy_service.cli.processes import Program
from tests.strategy_service.cli.fake_services import REACHED, RUNNING, Admin, Orders, Strategy, World

CONFIG = """\
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: 100
    user_ids: [1, 2]
"""


@pytest.fixture
def world():
    return World()


@pytest.fixture
def services(world, tmp_path, monkeypatch):
    """Fakes on free ports; the children are programs that only wait for their parent."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    checks = health.HealthServicer()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    strategy_pb2_grpc.add_StrategyServiceServicer_to_server(Strategy(world), server)
    order_pb2_grpc.add_OrderServiceServicer_to_server(Orders(world), server)
    order_pb2_grpc.add_OrderAdminServiceServicer_to_server(Admin(world), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            answer = json.dumps(world.exchange(self.path.removeprefix("/control/"), body)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _answer

        def log_message(self, *_):
            pass

    exchange = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=exchange.serve_forever)
    thread.start()

    def child(name, *_):
        code = "import sys; sys.stdin.read()"
        return Program(name, [sys.executable, "-c", code], dict(os.environ), tmp_path / f"{name}.log")

    monkeypatch.setattr(launch, "paper_exchange", lambda *_: child("paper-exchange"))
    monkeypatch.setattr(launch, "service", child)
    monkeypatch.setattr(launch, "check_ports", lambda _: None)
    endpoint = {"port": port}
    yield Services(
        Settings.model_validate(
            {
                "data_dir": tmp_path / "paper",
                "market": endpoint,
                "order": endpoint,
                "strategy": endpoint,
                "paper": {"url": f"http://127.0.0.1:{exchange.server_port}"},
            }
        )
    )
    exchange.shutdown()
    exchange.server_close()
    thread.join()
    server.stop(0).wait()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return str(path)


def reach(world):
    def reached():
        world.state = REACHED

    world.on_watch = reached


def test_a_run_goes_through_its_steps_in_order_and_ends_with_0(world, services, config, capsys):
    reach(world)
    assert main(["run", "--config", config], services) == 0
    assert world.calls == [
        "world",
        "unfreeze",
        "accounts",
        'credential 2 session {"headers": {"cookie": "of-2"}}',  # user 1 is known
        "start all exclusive=True",
        "freeze",
        "settle",
        *("trades", "orders") * 2,
        "report",
    ]
    out, err = capsys.readouterr()
    assert "koge: target reached, 100.5 of 100 USDT" in out
    assert "paper exchange says: bought 100.5 USDT, sold 0 USDT: as here" in out
    assert "PAPER" in err
    assert "of-2" not in out + err


def test_a_trade_by_hand_is_shown_apart_and_is_no_difference(world, services, config, capsys):
    reach(world)
    world.by_hand = ["17.5"]
    assert main(["run", "--config", config], services) == 0
    out = capsys.readouterr().out
    assert "paper exchange says: bought 100.5 USDT, sold 0 USDT: as here" in out
    assert "beside it by other hands: bought 35 USDT, sold 0 USDT" in out


def reach_while_another_joins(world):
    """The first look sees koge reached and koge2 begun, the second sees that end, too."""
    states = iter([RUNNING, REACHED])

    def next_look():
        world.state, world.joined = REACHED, next(states, REACHED)
        world.calls.append(f"koge2 {strategies.UserRunState.Name(world.joined)}")

    world.on_watch = next_look


def test_a_run_of_everything_also_waits_for_what_a_reload_starts_meanwhile(world, services, config, capsys):
    reach_while_another_joins(world)
    main(["run", "--config", config], services)
    assert "koge2 USER_RUN_STATE_REACHED" in world.calls[: world.calls.index("settle")]
    assert "koge2: target reached" in capsys.readouterr().out


def test_a_run_of_one_strategy_waits_for_no_other(world, services, config, capsys):
    reach_while_another_joins(world)
    assert main(["run", "--config", config, "--strategy", "koge"], services) == 0
    assert "koge2" not in capsys.readouterr().out


def test_only_the_named_strategy_is_started(world, services, config):
    reach(world)
    assert main(["run", "--config", config, "--strategy", "koge"], services) == 0
    assert "start koge exclusive=True" in world.calls


def test_a_start_is_asked_again_while_the_service_cannot_be_reached(world, services, config):
    reach(world)
    world.refuse_starts = 2
    assert main(["run", "--config", config], services) == 0
    assert world.calls.count("start all exclusive=True") == 3


def test_a_strategy_that_cannot_start_leaves_the_others_alone_and_is_told_with_its_reason(
    world, services, config, capsys
):
    reach(world)
    world.left_out = "koge2"
    with open(config, "a") as more:
        more.write(CONFIG.split("\n", 1)[1].replace("koge", "koge2").replace("KOGE", "NOPE"))
    assert main(["run", "--config", config], services) == 1
    out, err = capsys.readouterr()
    assert "koge: target reached" in out
    assert "not started: strategy koge2: no token NOPE" in err


def test_a_user_that_order_service_does_not_know_has_no_figures_and_spoils_nothing(
    world, services, config, capsys
):
    reach(world)
    world.unknown_user = "2"
    world.bought["2"] = ""
    world.exchange_knows = ("1",)
    assert main(["run", "--config", config], services) == 0
    out, err = capsys.readouterr()
    assert "bought 60.5 USDT" in out
    assert "user 2 has no credential" in err


def test_a_difference_from_the_exchanges_books_is_an_error(world, services, config, capsys):
    reach(world)
    world.bought["2"] = "40.01"
    assert main(["run", "--config", config], services) == 1
    assert "user 2 on ALPHA_22USDT: BUY 40.01 here, 40 there" in capsys.readouterr().err


def test_a_missed_target_ends_with_1(world, services, config):
    def needs_person():
        world.state = strategies.USER_RUN_STATE_NEEDS_PERSON

    world.target = "1000"
    world.on_watch = needs_person
    assert main(["run", "--config", config], services) == 1


def test_a_live_run_asks_nothing_of_the_paper_exchange_and_says_live(world, services, config, capsys):
    reach(world)
    live = Services(services.settings.model_copy(update={"mode": "live"}))
    assert main(["run", "--config", config, "--live"], live) == 0
    assert world.calls == ["start all exclusive=True", "settle"]
    out, err = capsys.readouterr()
    assert "paper exchange" not in out + err
    assert "LIVE " in err
    assert "PAPER" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_interrupt_drains_and_accounts_for_what_is_open(world, services, config, capsys, number):
    once = []

    def interrupt():
        if not once:
            once.append(number)
            os.kill(os.getpid(), number)

    world.target = "1000"
    world.on_watch = interrupt
    before = signal.getsignal(number)
    assert main(["run", "--config", config], services) == 130
    assert signal.getsignal(number) is before
    assert world.calls[-8:-4] == ["stop mode=STOP_MODE_DRAIN", "freeze", "settle", "trades"]
    out, err = capsys.readouterr()
    assert "target not reached" in out
    assert "the next run goes on in" in err


def test_a_child_that_refuses_to_start_ends_the_run_with_4(
    world, services, config, tmp_path, capsys, monkeypatch
):
    def refusing(name, *_):
        code = "import sys; print('order-service: another world', file=sys.stderr); sys.exit(4)"
        return Program(name, [sys.executable, "-c", code], dict(os.environ), tmp_path / f"{name}.log")

    monkeypatch.setattr(launch, "service", refusing)
    world.known_users = ["1", "2"]
    assert main(["run", "--config", config], services) == 4
    assert "order-service: another world" in capsys.readouterr().err


def test_the_second_interrupt_exits_at_once(tmp_path):
    code = (
        "import os, signal, time\n"
        "from strategy_service.cli.interrupt import Interrupt\n"
        "with Interrupt() as interrupt:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert interrupt.requested\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(30)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=10).returncode == 130
