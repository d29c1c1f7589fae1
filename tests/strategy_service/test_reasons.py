"""Every reason has its code in the contract, its meaning and its line in the guide."""

from pathlib import Path

import pytest

from protos import strategy_pb2 as pb
from strategy_service import to_pb
from strategy_service.reasons import ADVICE, Reason, RoundResult, reason_of
from strategy_service.state import Outcome
from strategy_service.status import UserState

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_documented_with_what_to_do(reason: Reason) -> None:
    meaning, what_to_do = ADVICE[reason]
    assert f"| `{reason}` | {meaning} | {what_to_do} |" in GUIDE


def test_contract_and_code_have_the_same_reasons() -> None:
    assert {to_pb.reason(reason) for reason in Reason} == set(pb.ReasonCode.values()) - {0}
    assert {to_pb.round_result(result) for result in RoundResult} == set(pb.RoundResult.values()) - {0}
    assert {to_pb.user_state(state) for state in UserState} == set(pb.UserRunState.values()) - {0}


def test_every_end_of_a_loop_is_a_reason() -> None:
    assert {Reason(outcome.value) for outcome in Outcome} <= set(Reason)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("no_credential", Reason.NO_CREDENTIAL),
        ("USER_SETTLING", Reason.SETTLING),
        ("UNKNOWN_TOKEN", Reason.UNKNOWN_TOKEN),
        ("something_new", Reason.OTHER),
        ("", Reason.OTHER),
    ],
)
def test_codes_of_other_parts_become_reasons(code: str, reason: Reason) -> None:
    assert reason_of(code) is reason
