"""The whole system in real processes: it reaches the target, tells the truth, and survives kill -9."""

import json
import os
import re
import signal
import subprocess
from decimal import Decimal

import pytest

from otopilot import money
from tests.system.harness import SERVICES, Desk, audit

pytestmark = pytest.mark.timeout(180)

SEED_KEYS = [
    "strategy_id",
    "strategy_name",
    "is_running",
    "target_volume",
    "total_volume",
    "progress",
    "user_volumes",
]


def finish(run: subprocess.Popen[str], seconds: float = 90) -> str:
    """A run's output; fails with it unless the run ended with 0."""
    said, _ = run.communicate(timeout=seconds)
    assert run.returncode == 0, said
    return said


def test_a_run_reaches_the_target_and_its_summary_is_what_the_exchange_says(desk: Desk) -> None:
    run = desk.start("run", "--config", str(desk.config(target=400)))
    desk.wait(lambda: desk.volume() > 0, 60, "some volume")
    status = desk.otopilot("status", "-o", "json")
    assert status.returncode == 0, status.stderr
    seven = json.loads(status.stdout)
    assert list(seven) == SEED_KEYS
    assert seven["is_running"] is True
    assert re.fullmatch(r"\d+\.\d\d%", seven["progress"])
    assert sum(map(Decimal, seven["user_volumes"].values())) == Decimal(seven["total_volume"])
    said = finish(run)
    assert "target reached" in said
    with desk.exchange():
        states = audit(desk)
        report = desk.control("report")
    bought = sum(Decimal(user["sides"]["BUY"]["quote"]) for user in report["users"])
    assert f"paper exchange says: bought {money.text(bought)} USDT" in said
    assert Decimal(400) <= bought <= Decimal("400.2")  # at most one smallest order over
    assert set(states) <= {"triggered", "completed"}


def test_a_killed_service_is_restarted_and_no_order_is_doubled_or_forgotten(desk: Desk) -> None:
    run = desk.start("run", "--config", str(desk.config(target=1300)))
    target = Decimal(150)
    for module in (*SERVICES, "paper_exchange", "order_service"):
        reached = target
        desk.wait(lambda goal=reached: desk.volume() >= goal, 60, f"{target} USDT before killing {module}")
        desk.kill(run, module)
        target = desk.volume() + 90 if desk.volume() else target + 90
    finish(run, 120)
    with desk.exchange():
        audit(desk)


def test_everything_killed_at_once_goes_on_in_the_same_world(desk: Desk) -> None:
    config = str(desk.config(target=600))
    run = desk.start("run", "--config", config)
    desk.wait(lambda: desk.volume() > 100, 60, "some volume")
    world = desk.control("world")["world_id"]
    for pid in (run.pid, *desk.children(run).values()):
        os.kill(pid, signal.SIGKILL)
    run.communicate()
    before = sum(len(order.legs) for order in desk.journal())
    assert before > 0
    again = desk.start("run", "--config", config)
    desk.wait(lambda: desk.volume() > 0, 60, "the same run going on")
    assert desk.control("world")["world_id"] == world
    finish(again, 120)
    with desk.exchange():
        audit(desk)


def test_interrupting_drains_and_says_what_is_left(desk: Desk) -> None:
    run = desk.start("run", "--config", str(desk.config(target=16384)))
    desk.wait(lambda: desk.volume() > 0, 60, "some volume")
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "as here" in said
    with desk.exchange():
        states = audit(desk)
    assert not {"submitting", "in_doubt", "working"} & set(states)


def test_a_user_without_a_credential_waits_for_a_person_and_stops_nobody_else(desk: Desk) -> None:
    run = desk.start("run", "--config", str(desk.config(target=16384, users="1, 2")))
    desk.wait(lambda: desk.volume() > 0, 60, "some volume")
    desk.config(target=16384, users="1, 2, 3")
    reloaded = desk.otopilot("reload")
    assert reloaded.returncode == 0, reloaded.stderr

    def user(user_id: str) -> dict[str, str]:
        shown = desk.otopilot("status", "koge", "--full", "-o", "json")
        users = json.loads(shown.stdout)["users"] if shown.returncode == 0 else []
        return next((each for each in users if each["user_id"] == user_id), {})

    desk.wait(lambda: user("3").get("reason_code") == "no_credential", 30, "user 3 needing a credential")
    before = desk.volume()
    desk.wait(lambda: desk.volume() > before + 60, 30, "the others going on")
    assert "otopilot users add" in user("3")["reason"]
    added = desk.otopilot("users", "add", "3", "--paper")
    assert added.returncode == 0, added.stderr
    desk.wait(lambda: Decimal(user("3").get("volume", "0")) > 0, 30, "user 3 trading")
    run.send_signal(signal.SIGTERM)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    with desk.exchange():
        audit(desk)
