"""A service as a process: what ends it, and with which code."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otopilot.rpc import REFUSED_TO_START

SERVICE = """
import asyncio
import sys
import time
from otopilot.rpc import RefuseStart, run_service

async def main(settings, stop):
    '''A service that only waits.'''
    if "world" in str(settings.data_dir):
        raise RefuseStart("the journal belongs to another world")
    print("up", flush=True)
    if "busy" in str(settings.data_dir):
        await asyncio.sleep(0.1)
        time.sleep(0.6)
    await stop.wait()
    print("down", flush=True)

sys.exit(run_service("some-service", main))
"""
ROOT = Path(__file__).parents[2]
HELD_UP = "event loop was held up"  # a loaded machine may do that to any process
Process = subprocess.Popen[str]


@contextmanager
def service(directory: Path, *arguments: str, data_dir: str = "data") -> Iterator[Process]:
    """The service with settings of its own."""
    file = directory / "services.yaml"
    file.write_text(f"data_dir: {data_dir}\n")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, "--settings", str(file), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def up(process: Process) -> Process:
    """The process once it serves."""
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def ended(process: Process) -> tuple[int, str, str]:
    """Its exit code and what it wrote last."""
    out, err = process.communicate(timeout=20)
    lines = err.splitlines(keepends=True)
    return process.returncode, out, "".join(line for line in lines if HELD_UP not in line)


def test_a_signal_lets_it_finish(tmp_path: Path) -> None:
    with service(tmp_path) as process:
        up(process).send_signal(signal.SIGTERM)
        assert ended(process) == (0, "down\n", "")


def test_it_does_not_outlive_its_parent(tmp_path: Path) -> None:
    with service(tmp_path, "--exit-with-parent") as process:
        # communicate() closes the pipe that the parent holds: nothing is finished, it is gone.
        assert ended(up(process)) == (0, "", "")


def test_a_refused_start_has_its_own_code_and_one_line(tmp_path: Path) -> None:
    with service(tmp_path, data_dir="other-world") as process:
        refusal = "some-service: the journal belongs to another world\n"
        assert ended(process) == (REFUSED_TO_START, "", refusal)


def test_a_service_says_that_its_event_loop_was_held_up(tmp_path: Path) -> None:
    with service(tmp_path, data_dir="busy") as process:
        assert process.stderr is not None
        line = json.loads(next(line for line in process.stderr if HELD_UP in line))
    assert (line["service"], line["level"]) == ("some-service", "warning")
    assert line["longest_ms"] > 400


def test_live_trading_needs_both_switches(tmp_path: Path) -> None:
    with service(tmp_path, "--live") as process:
        code, _, err = ended(process)
    assert code == REFUSED_TO_START
    assert "--live and mode: live" in err


def test_bad_settings_refuse_the_start(tmp_path: Path) -> None:
    with service(tmp_path, data_dir="[1, 2]") as process:
        code, _, err = ended(process)
    assert code == REFUSED_TO_START
    assert f"{tmp_path}/services.yaml: data_dir: " in err
