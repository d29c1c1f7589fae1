"""`why` is answered with the reason, what to do, and the figures that decide; rounds are remembered."""

import asyncio
from decimal import Decimal as D

import pytest

from strategy_service.reasons import Reason, RoundResult
from strategy_service.runs import Runs
from strategy_service.state import PlaceOto, PlaceSell, Rules, Seen
from tests.strategy_service.builders import filled, standing, strategy
from tests.strategy_service.fakes import denied
from tests.strategy_service.play import Play
from tests.strategy_service.test_supervisor import FAST, Make, reasons


async def test_a_guarded_user_is_told_the_price_in_its_way_and_when_it_asks_again(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="1000", max_cost_usdt=D(7), **FAST))

    def guard(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        if rules.user_id == "1":
            raise denied("DENIED_GUARD", blocking_price="99.5")

    d.orders.on_place = guard
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: reasons(d.supervisor)["1"] == "guard" and len(d.orders.buys("2")) >= 2)
    await asyncio.sleep(1.1)  # the figures are read once a second
    (told,) = d.supervisor.explain("s", "1")
    assert (told.status.code, told.blocking) == (Reason.GUARD, D("99.5"))
    assert told.next_try_at is not None
    assert told.scope is not None
    assert told.target == 1000
    assert 0 < told.scope.counted <= d.orders.counted("2")
    assert told.quote is not None
    assert told.quote.price == 100
    assert told.most_open_sells == 180
    assert [each.status.user_id for each in d.supervisor.explain()] == ["1", "2"]
    two = d.supervisor.explain("s", "2")[0]
    assert two.last_round is not None
    assert two.last_round.result is RoundResult.FILLED


async def test_a_strategy_that_never_ran_is_explained_too(desk: Make) -> None:
    d = desk(strategy(target="1000"))
    await d.supervisor.open()
    (told,) = d.supervisor.explain()
    assert (told.status.code, told.target, told.status.volume_known) == (Reason.IDLE, 1000, False)


def test_a_round_tells_what_it_came_to_and_which_intervals_passed_before_it() -> None:
    play = Play()
    play.swing = D(9)
    play.reads()
    assert play.waits == "volatility"
    for _ in range(8):  # eight seconds of it, at a round a second
        play.wait(1.0)
        play.reads()
    play.swing = D(0)
    play.wait(0.6)
    order = play.accepts()
    play.said(Seen(filled(order)))
    (end,) = play.rounds
    assert (end.cycle, end.result, end.bought, end.tries) == (
        1,
        RoundResult.FILLED,
        order.working.quantity * D("100.5"),
        1,
    )
    assert (end.skipped, end.skipped_reason) == (8, Reason.VOLATILITY)


def test_intervals_that_pass_before_an_end_are_told_too() -> None:
    play = Play()
    play.swing = D(9)
    play.reads()
    for _ in range(3):
        play.wait(1.0)
        play.reads()
    play.said(standing("1000", "1000"))
    (end,) = play.rounds
    assert (end.result, end.skipped, end.skipped_reason) == (RoundResult.SKIPPED, 3, Reason.VOLATILITY)


async def test_rounds_and_runs_are_remembered_over_restarts(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 8)
    await d.supervisor.stop("s")
    await d.supervisor.aclose()
    async with d.another() as again:
        await again.start("s")
        await again.stop("s")
        rounds = again.rounds("s", "1")
        assert [r.sequence for r in rounds] == sorted((r.sequence for r in rounds), reverse=True)
        assert {r.user_id for r in rounds} == {"1"}
        spent = sum(r.end.bought for r in again.rounds("s"))
        assert spent == d.orders.counted("1") + d.orders.counted("2")
        newest, older = again.past_runs("s")
        assert newest.started_at > older.started_at
        assert set(older.users) == {"1", "2"}
        (page,) = again.rounds("s", "1", most=1)
        assert again.rounds("s", "1", before=page.sequence)[0].sequence < page.sequence


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategy_service.history._MOST_ROUNDS", 10)
    runs = Runs(None)
    play = Play()
    play.begins()
    play.said(Seen(filled(play.accepts())))
    for _ in range(25):
        runs.history.add("s", "1", play.rounds[0])
    assert len(runs.history.rounds("", "", None, 100)) == 10


async def test_cycles_are_those_of_the_run_also_after_a_restart(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 5)
    await d.supervisor.aclose()
    before = len(d.orders.buys())
    async with d.another() as again:
        await d.until(lambda: len(d.orders.buys()) >= before + 3)
        await again.stop("s")
        assert again.status("s").users[0].cycles == len(d.orders.buys())
        await again.start("s")
        await again.stop("s")
        assert again.status("s").users[0].cycles <= 2  # a new run counts anew
