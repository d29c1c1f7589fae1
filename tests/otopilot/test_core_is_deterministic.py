"""The simulation's lint gate (reliability 3): nothing in the core may tell one run of a seed from another.

The core is all that can run in the simulation, and what stands beside it by the same rules: every package
without the programs that people start. Ruff holds the clock, ids and chance (pyproject.toml); what it has
no word for is held here. Each pattern is planted, so that a gate that went blind is seen.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.otopilot.unordered import by_file

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("otopilot", "market_service", "order_service", "strategy_service", "paper_exchange")
PROGRAMS = ROOT / "strategy_service" / "cli"


def core() -> dict[str, str]:
    """Every file of the core, by name."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.is_relative_to(PROGRAMS)
    }


def ruff(code: str, path: str) -> str:
    """What the repository's ruff says of this code, were it that file."""
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--output-format=concise"]
    command += ["--stdin-filename", path, "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_no_file_of_the_core_observes_the_order_of_a_set_or_makes_a_float_of_an_amount() -> None:
    files = core()
    assert {"order_service/order_manager.py", "strategy_service/loop.py", "otopilot/order.py"} <= files.keys()
    assert by_file(files) == {}


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import time\n\n\ndef f() -> float:\n    return time.time()\n", "TID251"),
        ("from time import monotonic\n\n\ndef f() -> float:\n    return monotonic()\n", "TID251"),
        (
            "from datetime import UTC, datetime\n\n\ndef f() -> datetime:\n    return datetime.now(UTC)\n",
            "TID251",
        ),
        ("import datetime as d\n\n\ndef f() -> object:\n    return d.datetime.utcnow()\n", "TID251"),
        ("from uuid import uuid4\n\n\ndef f() -> str:\n    return uuid4().hex\n", "TID251"),
        ("import uuid\n\n\ndef f() -> str:\n    return uuid.uuid1().hex\n", "TID251"),
        ("import random\n\n\ndef f() -> float:\n    return random.random()\n", "TID251"),
        ("from random import shuffle\n\n\ndef f(x: list[int]) -> None:\n    shuffle(x)\n", "TID251"),
        ("import random\n\n\ndef f() -> object:\n    return random.Random()\n", "S311"),
        (
            "def f() -> None:\n    try:\n        print()\n    except:\n        raise ValueError from None\n",
            "E722",
        ),
    ],
)
@pytest.mark.parametrize(
    "path", ["order_service/gate.py", "strategy_service/strategy.py", "otopilot/order.py"]
)
def test_ruff_finds_a_planted_clock_id_chance_or_bare_except(code: str, rule: str, path: str) -> None:
    assert rule in ruff(code, path)


def test_the_clock_alone_may_ask_the_machine() -> None:
    code = "import time\n\n\ndef f() -> float:\n    return time.time()\n"
    assert "TID251" not in ruff(code, "otopilot/clock.py")


@pytest.mark.parametrize(
    "code",
    [
        "for x in {1, 2}:\n    print(x)",
        "for x in set(range(3)):\n    print(x)",
        "def f(names: set[str]) -> None:\n    for x in names:\n        print(x)",
        "def f(names: 'frozenset[str] | None') -> list[str]:\n    return [x for x in names or ()]",
        "def f(a: dict[str, int], b: dict[str, int]) -> None:\n    for x in a.keys() | b.keys():\n"
        "        print(x)",
        "def f(a: dict[str, int], b: set[str]) -> list[str]:\n    return list(a.keys() - b)",
        "class A:\n    x: frozenset[str]\n    def f(self) -> dict[str, int]:\n"
        "        return {y: 1 for y in self.x}",
        "class A:\n    def __init__(self) -> None:\n        self._x: set[str] = set()\n"
        "    def f(self) -> str:\n        return ', '.join(self._x)",
        "class A:\n    @property\n    def x(self) -> set[str]:\n        return set()\n"
        "def f(a: A) -> None:\n    print(*a.x)",
        "def g() -> set[str]:\n    return set()\ndef f() -> str:\n    return next(iter(g()))",
        "def f(x: set[str]) -> str:\n    return x.pop()",
        "def f(x: dict[str, set[str]]) -> None:\n    for y in x.get('a', set()):\n        print(y)",
        "def f(x: dict[str, set[str]]) -> None:\n    for a in x.values():\n        for b in a:\n"
        "            print(b)",
        "def f(x: dict[str, set[str]]) -> None:\n    for _, a in x.items():\n        print(tuple(a))",
        "async def f(x: list[object]) -> None:\n    done, _ = await asyncio.wait(x)\n"
        "    for y in done:\n        print(y)",
        "def f(x: set[str]) -> str:\n    return max(x, key=len)",
        "def f(x: set[str]) -> None:\n    def g() -> None:\n        for y in x:\n            print(y)",
    ],
)
def test_whoever_observes_the_order_of_a_set_is_found(code: str) -> None:
    assert len(by_file({"planted.py": code})) == 1


def test_a_set_that_another_file_annotates_is_known_and_a_files_own_word_goes_first() -> None:
    made = "class A:\n    names: set[str]"
    used = "def f(a: A) -> None:\n    for x in a.names:\n        print(x)"
    own = (
        "class B:\n    names: list[str]\n    def f(self) -> None:\n        for x in self.names:\n"
        "            print(x)"
    )
    assert list(by_file({"made.py": made, "used.py": used, "own.py": own})) == ["used.py"]


@pytest.mark.parametrize(
    "code",
    [
        "def f(x: set[str]) -> list[str]:\n    return sorted(x)",
        "def f(x: set[str]) -> bool:\n    return any(y.isdigit() for y in x)",
        "def f(x: set[str]) -> set[str]:\n    return {y.lower() for y in x}",
        "def f(x: set[str], y: set[str]) -> frozenset[str]:\n    return frozenset({*x, *y})",
        "def f(x: set[int]) -> int:\n    return sum(x) + max(x) + len(x)",
        "def f(x: dict[str, int]) -> None:\n    for y in x.keys():\n        print(y)",
        "def f(x: list[int], y: list[int]) -> None:\n    for z in x[0:len(x) - len(y)]:\n        print(z)",
    ],
)
def test_what_does_not_observe_the_order_of_a_set_passes(code: str) -> None:
    assert by_file({"planted.py": code}) == {}


@pytest.mark.parametrize(
    "code", ["float(price)", "float(order.quantity)", "float(money.parse(x))", "map(float, x)"]
)
def test_a_float_of_an_amount_is_found(code: str) -> None:
    assert len(by_file({"planted.py": code})) == 1


@pytest.mark.parametrize(
    "code", ["float('-inf')", "float(settings.fill_timeout_seconds)", "float(age_ms or 0)"]
)
def test_a_float_of_a_time_passes(code: str) -> None:
    assert by_file({"planted.py": code}) == {}
