"""`otopilot logs`: the files of the data directory, merged by time, filtered, followed."""

import json
import threading
import time

import pytest

from otopilot.settings import Settings
from strategy_service.cli.app import main
from strategy_service.cli.clients import Services
from strategy_service.cli.logs import Tail


def record(second, event, level="info", **fields):
    stamp = f"2026-01-05T12:00:{second:02}Z"
    return json.dumps({"timestamp": stamp, "level": level, "event": event, **fields}) + "\n"


@pytest.fixture
def services(tmp_path):
    logs = tmp_path / "paper" / "logs"
    logs.mkdir(parents=True)
    (logs / "order-service.log").write_text(
        record(1, "serving", port=50052) + record(5, "order in doubt", "warning", user_id="2")
    )
    (logs / "market-service.log").write_text(record(3, "venue silent", "error") + "it ends in plain words\n")
    return Services(Settings.model_validate({"data_dir": tmp_path / "paper"}))


def test_lines_of_all_services_stand_in_the_order_of_time(services, capsys):
    assert main(["logs"], services) == 0
    lines = capsys.readouterr().out.splitlines()
    told = ["plain words", "serving", "venue silent", "order in doubt"]
    assert [any(word in line for word in [each]) for each, line in zip(told, lines, strict=True)] == [
        True
    ] * 4
    assert "port=50052" in lines[1]
    assert "order-service" in lines[3]


def test_a_service_a_level_a_user_and_a_number_narrow_what_is_shown(services, capsys):
    def shown(*argv):
        assert main(["logs", *argv, "-o", "jsonl"], services) == 0
        return [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]

    assert shown("order-service") == ["serving", "order in doubt"]
    assert shown("--level", "error") == ["venue silent"]
    assert shown("--user", "2") == ["order in doubt"]
    assert shown("-n", "1") == ["order in doubt"]


def test_json_is_one_list_of_records(services, capsys):
    assert main(["logs", "order-service", "-o", "json"], services) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["event"] for each in found] == ["serving", "order in doubt"]
    assert found[0]["service"] == "order-service"


def test_following_prints_what_is_added_also_after_the_file_was_begun_anew(services, capsys, tmp_path):
    path = tmp_path / "paper" / "logs" / "order-service.log"
    done = []
    thread = threading.Thread(
        target=lambda: done.append(main(["logs", "order-service", "-f", "-n", "0"], services)), daemon=True
    )
    thread.start()
    seen = ""

    def until(word):
        nonlocal seen
        deadline = time.monotonic() + 20
        while word not in seen:
            assert time.monotonic() < deadline, seen
            seen += capsys.readouterr().out
            time.sleep(0.05)

    time.sleep(0.5)
    with path.open("a") as log:
        log.write(record(7, "placed"))
    until("placed")
    path.rename(path.with_suffix(".log.1"))
    path.write_text(record(9, "served anew"))
    until("served anew")
    assert "serving" not in seen  # -n 0: nothing of the past


def test_a_line_that_is_still_being_written_is_shown_when_it_is_whole(tmp_path):
    path = tmp_path / "x.log"
    path.write_text(record(1, "one") + '{"event": "hal')
    tail = Tail(path)
    assert [line.fields["event"] for line in tail.past()] == ["one"]
    with path.open("a") as log:
        log.write('f"}\n')
    assert [line.fields["event"] for line in tail.news()] == ["half"]
    assert list(tail.news()) == []


def test_where_there_are_no_logs_the_hint_names_a_world_that_has_some(services, tmp_path, capsys):
    elsewhere = Services(Settings.model_validate({"data_dir": tmp_path / "other"}))
    assert main(["logs"], elsewhere) == 3
    assert f"--data-dir {tmp_path / 'paper'}" in capsys.readouterr().err
    assert main(["logs", "--data-dir", str(tmp_path / "paper")], elsewhere) == 0
    assert main(["logs", "nonsense-service"], services) == 3
    assert "market-service, order-service" in capsys.readouterr().err


def test_a_level_that_is_none_is_wrong_usage(services):
    assert main(["logs", "--level", "loud"], services) == 2
