"""How long the door stays shut: what the venue tells, and what a refusal means that tells nothing."""

from datetime import timedelta
from typing import Any

import pytest

from order_service.venues import alpha_parse, spot_answers
from order_service.venues.port import RateLimited, Response
from otopilot import door
from otopilot.clock import to_ms
from tests.order_service.venues.fakes import NOW, reply

MINUTES = {429: 1, 418: 2, 403: 5}
BANNED = (
    "Way too much request weight used; IP banned until {}. Please use WebSocket Streams for live updates."
)


def banned(seconds: float) -> str:
    """The venue's words for a ban that ends so long after now, by its clock."""
    return BANNED.format(to_ms(NOW) + int(seconds * 1000))


def shut_for(call: Any) -> float:
    """Seconds."""
    with pytest.raises(RateLimited) as caught:
        call()
    seconds: float = (caught.value.until - NOW).total_seconds()
    return seconds


def by_rest(status: int, said: str = "x", **headers: str) -> float:
    response = reply(
        {"code": -1003, "msg": said}, status, {k.replace("_", "-"): v for k, v in headers.items()}
    )
    return shut_for(lambda: spot_answers.answer_of(response, NOW))


def by_socket(status: int, said: str = "x", **data: Any) -> float:
    message = {"id": "1", "status": str(status), "error": {"code": "-1003", "msg": said, "data": data}}
    return shut_for(lambda: spot_answers.ws_result(message, NOW))


@pytest.mark.parametrize("status", door.REFUSING)
def test_a_refusal_that_tells_no_time_lasts_as_long_as_its_kind_does(status: int) -> None:
    html = Response(status=status, headers={}, body=b"<html>")
    seconds = MINUTES[status] * 60
    assert by_rest(status) == by_socket(status) == seconds
    assert by_rest(status, retry_after="0") == seconds
    assert shut_for(lambda: spot_answers.answer_of(html, NOW)) == seconds
    assert shut_for(lambda: alpha_parse.data_of(html, NOW, writing=True)) == seconds


@pytest.mark.parametrize("status", door.REFUSING)
def test_a_time_that_is_told_holds(status: int) -> None:
    assert by_rest(status, retry_after="7") == 7
    at = to_ms(NOW)
    assert by_socket(status, serverTime=str(at + 5_000), retryAfter=str(at + 12_000)) == 7


def test_a_ban_lasts_until_the_later_of_two_ends_that_are_told() -> None:
    assert by_rest(418, banned(600)) == 600
    assert by_rest(418, banned(600), retry_after="90") == 600
    assert by_rest(418, banned(30), retry_after="90") == 90
    assert by_rest(418, banned(-600)) == 120
    assert by_rest(418, banned(10**7)) == timedelta(days=3).total_seconds()


def test_over_a_socket_the_bans_end_is_by_the_clock_that_is_told_beside_it() -> None:
    ahead = to_ms(NOW) + 60_000
    told = {"serverTime": str(ahead), "retryAfter": str(ahead + 90_000)}
    assert by_socket(418, banned(660), **told) == 600
    assert by_socket(418, banned(600), serverTime="2000", retryAfter="92000") == 600


def test_only_a_ban_is_read_out_of_words() -> None:
    assert by_rest(429, banned(600), retry_after="7") == 7
    assert by_rest(418, f"banned until {to_ms(NOW) * 10}") == 120
