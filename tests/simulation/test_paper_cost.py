"""The plan's cost lies within a fifth of what the same run costs on the paper exchange."""

import pytest

from tests.simulation.paper_cost import CASES, FLAT, MOST_OFF, Case, play


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.symbol} {case.name} {case.market}".replace(" ", "-")
)
def test_the_planned_cost_lies_within_a_fifth_of_the_runs(case: Case) -> None:
    result = play(case)
    assert result.complete
    assert result.sold == 0 if case.market == FLAT else result.sold > 0.99
    assert abs(result.off) <= MOST_OFF, (result.expected, result.cost)
