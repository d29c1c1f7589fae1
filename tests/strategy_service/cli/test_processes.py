"""The children of `run`: restarted when they die, not when they refuse, gone when the parent goes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from strategy_service.cli import processes
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.processes import Children, Program

UNTIL_EOF = "import sys; print('up', flush=True); sys.stdin.read()"
DEADLINE = 10.0


class Clock:
    """Monotonic time that a test can move."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead


@pytest.fixture
def said():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def children(said, clock):
    with Children(said.append, clock) as made:
        yield made


def program(tmp_path, code, name="child"):
    return Program(name, [sys.executable, "-c", code], dict(os.environ), tmp_path / "logs" / f"{name}.log")


def wait_for(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def dies(children, child, said):
    """Poll until the death is noticed."""
    before = len(said)

    def noticed():
        children.poll()
        return len(said) > before

    wait_for(noticed)


def refusal_of(children):
    """Poll until a child refuses; what poll() raised."""
    with pytest.raises(CliError) as refusal:
        wait_for(children.poll)
    return refusal.value


def test_a_killed_child_is_restarted_after_its_backoff(tmp_path, children, said, clock):
    child = children.start(program(tmp_path, UNTIL_EOF))
    first = child.pid
    os.kill(first, signal.SIGKILL)
    dies(children, child, said)
    assert "SIGKILL" in said[-1]
    assert child.pid is None
    clock.ahead += processes.BACKOFF_SECONDS[0]
    children.poll()
    assert child.pid not in (None, first)
    assert child.restarts == 1


def test_backoff_grows_with_each_early_death_and_starts_anew_after_a_calm_life(
    tmp_path, children, said, clock
):
    child = children.start(program(tmp_path, "raise SystemExit(1)"))
    waits = []
    for _ in range(8):
        dies(children, child, said)
        waits.append(child.next_start_at)
        clock.ahead += processes.BACKOFF_SECONDS[-1]
        waits[-1] -= clock() - processes.BACKOFF_SECONDS[-1]
        children.poll()
    assert child.deaths == 8
    assert [round(wait, 1) for wait in waits[:3]] == pytest.approx([0.2, 0.5, 1.0], abs=0.2)
    assert waits[-1] == pytest.approx(processes.BACKOFF_SECONDS[-1], abs=0.3)
    clock.ahead += processes.CALM_SECONDS
    dies(children, child, said)
    assert child.deaths == 1


def test_a_child_that_refuses_to_start_ends_the_run_with_its_own_words(tmp_path, children):
    code = (
        'import sys; print(\'{"event": "starting"}\', file=sys.stderr);'
        "print('order-service: the journal belongs to another world\\nuse --new-world', file=sys.stderr);"
        "sys.exit(4)"
    )
    child = children.start(program(tmp_path, code))

    refusal = refusal_of(children)
    assert refusal.code is Exit.CONFIG
    assert refusal.message == "order-service: the journal belongs to another world\nuse --new-world"
    assert str(tmp_path / "logs" / "child.log") in refusal.hint
    assert child.restarts == 0


def test_the_words_of_an_earlier_life_are_not_taken_for_this_ones(tmp_path, children):
    log = tmp_path / "logs" / "child.log"
    log.parent.mkdir()
    log.write_text("order-service: an old refusal\n")
    children.start(program(tmp_path, "import sys; print('new words', file=sys.stderr); sys.exit(4)"))

    assert refusal_of(children).message == "new words"
    assert "an old refusal" in log.read_text()


def test_leaving_ends_every_child_the_polite_way_first(tmp_path, said):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0)))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    log = tmp_path / "logs" / "child.log"
    with Children(said.append) as children:
        pid = children.start(program(tmp_path, code)).pid
        wait_for(lambda: log.exists() and "up" in log.read_text())
    assert "bye" in log.read_text()
    assert not is_alive(pid)


def test_a_child_that_does_not_listen_is_killed_after_a_bounded_wait(tmp_path, said, monkeypatch):
    monkeypatch.setattr(processes, "END_SECONDS", 0.3)
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    log = tmp_path / "logs" / "child.log"
    with Children(said.append) as children:
        pid = children.start(program(tmp_path, code)).pid
        wait_for(lambda: log.exists() and "up" in log.read_text())
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert not is_alive(pid)


def test_children_exit_when_the_parent_is_killed(tmp_path):
    parent = f"""
import os, sys, time
from pathlib import Path
from strategy_service.cli.processes import Children, Program
children = Children(print)
for name in ("one", "two"):
    argv = [sys.executable, "-c", {UNTIL_EOF!r}]
    program = Program(name, argv, dict(os.environ), Path({str(tmp_path)!r}) / name)
    print(children.start(program).pid, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert all(map(is_alive, pids))
        assert all(os.getsid(pid) != os.getsid(process.pid) for pid in pids)  # Ctrl+C does not reach them
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    # Orphans stay zombies where nothing reaps them: an ended one has no command line any more.
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids))
