"""Failpoints: what the variable may say, and what happens where it says so."""

import os
import signal
import subprocess
import sys

import pytest

from otopilot import failpoints


def child(armed: str, code: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, failpoints.VARIABLE: armed}
    return subprocess.run(
        [sys.executable, "-c", f"from otopilot.failpoints import hit\n{code}"],
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_an_unarmed_place_does_nothing() -> None:
    assert child("", "hit('a'); print('on')").stdout == "on\n"
    assert child("b=kill", "hit('a'); print('on')").stdout == "on\n"


def test_a_kill_is_kill_9_at_the_count_given() -> None:
    ended = child("a=kill@3", "for n in range(5): print(n, flush=True); hit('a')")
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "0\n1\n2\n")


def test_a_raise_strikes_once_and_names_its_place() -> None:
    ended = child("a=raise", "try: hit('a')\nexcept Exception as e: print(type(e).__name__, e)\nhit('a')")
    assert ended.stdout == "FailpointReached a\n"
    assert ended.returncode == 0


def test_a_pause_stands_still() -> None:
    code = "import time; t = time.monotonic(); hit('a'); print(time.monotonic() - t >= 0.2)"
    assert child("a=pause:0.2", code).stdout == "True\n"


@pytest.mark.parametrize("text", ["a", "a=burn", "a=pause", "a=kill:3", "a=kill@x"])
def test_a_variable_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        failpoints.parse(text)
