"""The containers for real: built, healthy, without rights, on loopback only, trading, and killed.

Needs a Docker engine and Compose; `make test-containers` runs it. BASE_IMAGE names the base image
where no registry can be reached (deploy/make-base-image.sh).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("paper-exchange", "market-service", "order-service", "strategy-service")

pytestmark = pytest.mark.timeout(600)


def run(*words: str, seconds: float = 120, **extra: str) -> str:
    """A command's output; fails with all it said."""
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **extra}, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compose(*words: str, seconds: float = 120) -> str:
    """docker compose, v2 or v1, under a project name of its own."""
    v1 = shutil.which("docker-compose")
    command = (v1,) if v1 else ("docker", "compose")
    return run(*command, "--project-name", "otopilot-test", *words, seconds=seconds)


def otopilot(*words: str) -> str:
    """The command line, from outside."""
    return run(sys.executable, "-m", "strategy_service.cli", *words)


def wait(what: Callable[[], bool], seconds: float, words: str) -> None:
    """Until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s: {words}"
        time.sleep(0.5)


def container(service: str) -> str:
    """The container of a service."""
    return compose("ps", "-q", service).strip()


def healthy() -> bool:
    """Are all four?"""
    words = ("docker", "inspect", "--format", "{{.State.Health.Status}}")
    return all(run(*words, container(service)).strip() == "healthy" for service in SERVICES)


def volume() -> Decimal:
    """What `otopilot status` counts."""
    return Decimal(json.loads(otopilot("status", "koge_volume_boost", "-o", "json"))["total_volume"])


@pytest.fixture(scope="module", autouse=True)
def stack() -> Iterator[None]:
    """All containers, healthy; gone with their volumes at the end."""
    try:
        compose("up", "--build", "--detach", seconds=500)
        wait(healthy, 90, "four healthy containers")
        yield
    finally:
        compose("down", "--volumes", "--timeout", "3")


def test_containers_run_without_rights_and_publish_on_loopback_only() -> None:
    for service in SERVICES:
        name = container(service)
        assert run("docker", "exec", name, "id", "-u").strip() == "10001"
        published = json.loads(run("docker", "inspect", "--format", "{{json .NetworkSettings.Ports}}", name))
        hosts = {binding["HostIp"] for bindings in published.values() for binding in bindings or []}
        assert hosts == {"127.0.0.1"}


def test_users_trade_from_outside_and_a_killed_order_service_forgets_nothing() -> None:
    for user in ("1", "2", "3"):
        otopilot("users", "add", user, "--paper")
    otopilot("start", "koge_volume_boost")
    wait(lambda: volume() > 200, 60, "some volume")
    run("docker", "kill", "--signal", "KILL", container("order-service"))
    run("docker", "start", container("order-service"))
    wait(healthy, 60, "the order service healthy again")
    before = volume()
    wait(lambda: volume() > before + 100, 90, "trading that goes on")
    otopilot("stop", "koge_volume_boost")
    settled = json.loads(otopilot("orders", "settle", "-o", "json"))
    assert settled["in_doubt"] == []
    with_books = json.loads(run("docker", "exec", container("paper-exchange"), "python", "-c", _REPORT))
    told = sum(Decimal(user["sides"]["BUY"]["quote"]) for user in with_books["users"])
    assert volume() == told


_REPORT = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8900/control/report').read().decode())"
)
