"""Logs: one JSON object a line, and nothing that looks like a secret."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otopilot.log import redact


def redacted(**event: Any) -> dict[str, Any]:
    return dict(redact(None, "info", event))


@pytest.mark.parametrize(
    "key",
    ["secret", "cookie", "csrftoken", "X-MBX-APIKEY", "api_key", "signature", "private_key", "Authorization"],
)
def test_a_value_named_like_a_secret_is_taken_out(key: str) -> None:
    assert redacted(**{key: "hunter2"}) == {key: "[redacted]"}


def test_however_deep_it_lies() -> None:
    event = redacted(
        headers={"Cookie": "hunter2", "accept": "json"},
        sent=[{"listenKey": "hunter2"}, "plain"],
        tokens=["hunter2"],
    )
    assert "hunter2" not in str(event)
    assert event["headers"]["accept"] == "json"
    assert event["sent"][1] == "plain"


def test_what_is_no_secret_stays() -> None:
    assert redacted(order_id="00aa", price="48") == {"order_id": "00aa", "price": "48"}


def test_what_was_given_to_the_logger_is_not_changed() -> None:
    headers = {"cookie": "hunter2"}
    redacted(headers=headers)
    assert headers == {"cookie": "hunter2"}


PROGRAM = """
from otopilot import log
log.configure("some-service", "info")
log.get("part").debug("unheard")
log.get("part").info("placed", order_id="00aa", secret="hunter2")
try:
    raise ValueError("odd")
except ValueError:
    log.get("part").exception("failed")
"""


def test_a_line_is_one_object_on_stderr_that_says_who_when_and_what() -> None:
    # A process of its own: logging is set up once for a whole process.
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout == ""
    placed, failed = (json.loads(line) for line in ran.stderr.splitlines())
    assert placed.pop("timestamp").endswith("Z")
    assert placed == {
        "service": "some-service",
        "component": "part",
        "level": "info",
        "event": "placed",
        "order_id": "00aa",
        "secret": "[redacted]",
    }
    assert "ValueError: odd" in failed["exception"]
