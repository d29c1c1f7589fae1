"""What `run` and `quick-start` refuse before anything starts, and where they keep a world."""

import socket
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from otopilot.settings import Settings
from strategy_service.cli import launch, quick_start, worlds
from strategy_service.cli.app import main
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.config import load_bytes

NOW = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
GOOD = """\
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: 100
    user_ids: [1]
  - strategy_id: paused
    enabled: false
    target_token: AOP
    target_chain: BSC
    target_volume: 100
    user_ids: [1]
"""


@pytest.fixture
def services(tmp_path):
    return Services(Settings.model_validate({"data_dir": tmp_path / "paper"}))


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_with_its_key_before_anything_starts(
    good, tmp_path, capsys, taken, monkeypatch
):
    monkeypatch.setattr(launch, "PORT_PATIENCE_SECONDS", 0.1)
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path / "paper",
            "order": {"port": taken},
            "market": {"port": 0},
            "strategy": {"port": 0},
            "paper": {"url": "http://127.0.0.1:18931"},
        }
    )
    assert main(["run", "--config", good], Services(settings)) == 4
    err = capsys.readouterr().err
    assert f"port {taken} on 127.0.0.1, which order-service needs, is in use" in err
    assert "order.port" in err
    assert "OTOPILOT_ORDER__PORT" in err
    assert not (tmp_path / "paper").exists()


def test_every_mistake_of_the_configuration_is_printed_with_its_place(services, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("target_volume: 100", "target_volume: 1e3", 1).replace("enabled", "enabeld"))
    assert main(["run", "--config", str(path)], services) == 4
    err = capsys.readouterr().err
    assert f"{path}:5:" in err
    assert "did you mean enabled?" in err


@pytest.mark.parametrize(
    ("argv", "exit_code", "words"),
    [
        (["--strategy", "kogge"], 3, "did you mean koge?"),
        (["--strategy", "paused"], 7, "enabled: false"),
        (["--live"], 4, "mode: live"),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason(services, good, capsys, argv, exit_code, words):
    assert main(["run", "--config", good, *argv], services) == exit_code
    assert words in capsys.readouterr().err


def test_live_settings_without_the_flag_do_not_trade(good, tmp_path, capsys):
    live = Services(Settings.model_validate({"mode": "live", "data_dir": tmp_path}))
    assert main(["run", "--config", good], live) == 4
    assert "--live" in capsys.readouterr().err
    assert main(["run", "--config", good, "--live", "--new-world"], live) == 2


def test_an_interrupted_demo_is_continued_and_a_finished_one_followed_by_a_new_world(tmp_path):
    first = worlds.demo(tmp_path)
    assert first.data_dir.name == "demo-1"
    first.data_dir.mkdir()
    assert worlds.demo(tmp_path) == first
    first.finish()
    second = worlds.demo(tmp_path)
    assert second.data_dir.name == "demo-2"
    (tmp_path / "demo-10").mkdir()
    assert worlds.demo(tmp_path).data_dir.name == "demo-10"
    assert (first.data_dir / "finished").exists()


def test_a_new_world_keeps_the_old_one_beside_it(tmp_path):
    data_dir = tmp_path / "paper"
    data_dir.mkdir()
    (data_dir / "journal").write_text("orders")
    world = worlds.fresh(data_dir)
    assert world.data_dir == data_dir
    assert not data_dir.exists()
    (kept,) = tmp_path.glob("paper-old-*")
    assert (kept / "journal").read_text() == "orders"
    world.finish()  # only demos are marked
    assert not data_dir.exists()


def test_quick_start_writes_the_seeds_flags_as_a_strategy_that_counts_from_now():
    text = quick_start.document("KOGE", "BSC", "100", "10", "1", "1", NOW)
    (strategy,) = load_bytes(text.encode(), "quick.yaml").strategies
    assert strategy.strategy_id == "quick_start_1"
    assert (strategy.target_token, strategy.target_chain, strategy.venue) == ("KOGE", "BSC", "alpha")
    assert strategy.target_volume == Decimal(100)
    assert strategy.volume_window.since == NOW
    user = strategy.user("1")
    assert user.single_trade_amount_usdt == Decimal(10)
    assert user.trade_interval_seconds == Decimal(1)


def test_quick_start_without_a_chain_trades_on_spot():
    text = quick_start.document("BTC", "", "100", "10", "1", "1", NOW)
    assert load_bytes(text.encode(), "quick.yaml").strategies[0].venue == "spot"


@pytest.mark.parametrize("token", ['KO"GE', "KOGE\n    enabled: false", "a: b", "ON", "KOGE", "币安人生"])
def test_a_token_name_stays_one_text_whatever_it_holds(token):
    text = quick_start.document(token, "BSC", "100", "10", "1", "1", NOW)
    assert yaml.safe_load(text)["strategies"][0]["target_token"] == token


@pytest.mark.parametrize("volume", ["1e3", "0x10", "-5", "0", "1_000", "many"])
def test_quick_start_numbers_are_judged_by_the_strict_loader(services, capsys, volume):
    argv = ["quick-start", "--token", "KOGE", "--chain", "BSC", "--volume", volume]
    assert main(argv, services) == 4
    err = capsys.readouterr().err
    assert "quick_start_1.yaml:6:20  strategies[0].target_volume" in err
    assert not (services.settings.data_dir / "quick-start").exists()


def test_quick_start_takes_no_number_that_could_be_more_than_one(services, capsys):
    argv = ["quick-start", "--token", "KOGE", "--volume", "100\n    enabled: false"]
    assert main(argv, services) == Exit.CONFIG
    assert "--volume" in capsys.readouterr().err


def test_a_program_gets_its_world_by_environment_and_dies_with_its_parent(tmp_path):
    program = launch.service("order-service", Settings(), tmp_path, "config/x.yaml")
    assert program.argv[1:] == ["-m", "order_service", "--exit-with-parent"]
    assert program.env["OTOPILOT_DATA_DIR"] == str(tmp_path)
    assert program.env["OTOPILOT_STRATEGY__CONFIG"] == "config/x.yaml"
    assert program.log == tmp_path / "logs" / "order-service.log"
    live = launch.service("order-service", Settings(mode="live"), tmp_path, "x")
    assert "--live" in live.argv
    exchange = launch.paper_exchange(Settings(), tmp_path, "x")
    assert exchange.argv[1:] == [
        *("-m", "paper_exchange", "--config", "config/paper.yaml"),
        *("--data-dir", str(tmp_path / "exchange"), "--port", "8900", "--exit-with-parent"),
    ]


def test_a_paper_url_without_a_port_is_a_mistake_of_the_settings():
    settings = Settings.model_validate({"paper": {"url": "https://example.invalid"}})
    with pytest.raises(CliError) as refusal:
        launch.check_ports(settings)
    assert refusal.value.code is Exit.CONFIG


def test_the_demo_configuration_is_there_and_valid():
    path = Path(__file__).parents[3] / worlds.DEMO_CONFIG
    assert len(load_bytes(path.read_bytes(), str(path)).enabled()) == 1
