"""One user's part in a run: its place, its loop, its crashes, its end.

The loop trades; this starts it when there is a place, starts it again after a crash (backoff 1
to 60 s, five strikes, then a person is needed), and remembers how it ended.
"""

import asyncio
import traceback
from collections.abc import Callable

from otopilot import log
from otopilot.money import ZERO
from otopilot.order import Order
from otopilot.position import MemberVolume, Position, VolumeScope
from otopilot.tasks import TaskOwner
from strategy_service.history import Ended
from strategy_service.leftovers import cancel_wishes
from strategy_service.loop import UserLoop, World
from strategy_service.places import Places
from strategy_service.reasons import Reason
from strategy_service.state import Condition, Outcome, RoundEnd, Rules, State, StopMode
from strategy_service.status import Rate, UserState, UserStatus

_log = log.get("user_run")

_BLOCKED_SECONDS = 60.0  # then a place somebody waits for is given back
_OF_RULES = (Reason.AMOUNT_TOO_SMALL, Reason.FILTER)  # waits that other rules of the venue would end
_MOST_STRIKES = 5
_MOST_BACKOFF_SECONDS = 60.0
_HEALTHY_SECONDS = 120.0  # without a crash, the strikes are forgotten


class UserRun:
    """Owns the loop of one user of one strategy."""

    def __init__(
        self,
        rules: Rules,
        scope: VolumeScope,
        world: World,
        places: Places,
        on_ended: Callable[["UserRun"], None],
        first_cycle: Callable[[int], int],
        *,
        paused: bool = False,
    ) -> None:
        self.rules = rules
        self.scope = scope
        self.ended: Ended | None = None
        self.position: Position | None = None
        self.member: MemberVolume | None = None
        self.read_at = float("-inf")
        self.rate = Rate()
        self.finished = asyncio.Event()
        self._world = world
        self._places = places
        self._on_ended = on_ended
        self._find_first = first_cycle  # the journal's cycle before the run's first, kept in the run table
        self._first_cycle: int | None = None
        self.paused = paused
        self.last_round: RoundEnd | None = None
        self._loop: UserLoop | None = None
        self._has_place = False
        self._stop: StopMode | None = None  # it was told to wind down
        self._delay = 0.0
        self._met: Outcome | None = None
        self._resumed = False
        self._began_at = 0.0
        self._strikes = 0
        self._crash = ""
        self._timer: asyncio.TimerHandle | None = None
        self._again_at = 0.0  # when that rings
        self._since = world.clock.now()
        self._cycles = 0  # as they were last counted
        self._guard_waits = 0
        self._parked = False  # paused, and its place given to somebody who waited
        self._tasks = TaskOwner("user_run")  # loops that are being cut off

    @property
    def user_id(self) -> str:
        """Whose."""
        return self.rules.user_id

    def start(self, *, delay: float = 0.0, resumed: bool = False) -> None:
        """Queue for a place; the loop starts when it is there."""
        self._delay, self._resumed = delay, resumed
        self._places.ask(self, self.user_id, self._granted)

    def restore(self, ended: Ended) -> None:
        """It ended before this process started."""
        self.ended, self._since = ended, ended.ended_at
        self.finished.set()

    def obey(self, rules: Rules, scope: VolumeScope) -> None:
        """New rules, at the next cycle."""
        self.rules, self.scope = rules, scope
        if self._loop is not None:
            self._loop.obey(rules, scope)

    def nudge(self) -> None:
        """Look again now."""
        if self._loop is not None and self._loop.state.ending is None:
            self._loop.nudge()

    def meet(self, outcome: Outcome) -> None:
        """The target this user shares was reached in this run: it ends, now or when it gets its place."""
        self._met = outcome
        if self._loop is not None:
            self._loop.meet(outcome)

    def pause(self, paused: bool) -> None:
        """Place no BUY, or place them again; one that gave its place away asks for one again."""
        self.paused = paused
        if self._loop is not None:
            self._loop.pause(paused)
        elif self._parked and not paused and self.ended is None:
            self._parked = False
            self.start(resumed=True)

    @property
    def fell_short(self) -> bool:
        """It ended as one that reached its target, and the target of now is not reached."""
        ended = self.ended is not None and self.ended.outcome in (Outcome.REACHED, Outcome.SKIPPED)
        return ended and (self.member is None or self.member.counted < self.scope.target)

    @property
    def state(self) -> State | None:
        """What its loop remembers, while there is one."""
        return self._loop.state if self._loop is not None else None

    @property
    def next_try_at(self) -> float | None:
        """Monotonic time at which it acts by itself at the latest."""
        if self._loop is not None:
            return self._loop.state.wake_at
        return self._again_at if self._timer is not None else None

    @property
    def began(self) -> bool:
        """Has its loop had something to do?"""
        return self._loop is not None and self._loop.state.began

    @property
    def history_read(self) -> bool:
        """Is its counted volume whole?"""
        return self.member is not None and self.member.complete

    @property
    def stopping(self) -> bool:
        """Was it told to wind down, and has not yet?"""
        return self.ended is None and self._stop is not None

    @property
    def stopped(self) -> bool:
        """Did it end because somebody stopped it?"""
        return self.ended is not None and self.ended.outcome is Outcome.STOPPED

    def stop(self, mode: StopMode) -> None:
        """Wind down as the mode says; `finished` tells when.

        Who has no loop now (queued, paused, after a crash) may have orders on the book all the
        same: a loop winds them down, and needs no place for it.
        """
        if self.ended is not None:
            return
        if self._stop is None or mode.strength > self._stop.strength:
            self._stop = mode
        if self._loop is None:
            self._places.leave(self)
            self._cancel_timer()
            self._resumed = True
            self._begin()
        if self._loop is not None:
            self._loop.stop(mode)

    async def abort(self) -> None:
        """End at once without a trace: the process goes, or a stop took too long."""
        self._places.leave(self)
        self._cancel_timer()
        await self._tasks.close()
        if self._loop is not None:
            await self._loop.abort()

    def give_up(self) -> None:
        """A stop took too long: record what is open, if that is known; else it goes on stopping."""
        loop = self._loop
        if self.ended is not None or (loop is not None and not loop.state.recovered):
            return
        buy = loop.state.order if loop is not None else None
        if loop is not None:
            self._leave(loop)
            self._forget_loop()
            self._tasks.spawn(loop.abort(), "abort")
        self._places.leave(self)
        self._cancel_timer()
        self._give_place_back()
        self._end_unread(buy)

    def beat(self, now: float) -> None:
        """Once a second: take the loop's figures; give a blocked loop's place to somebody who waits."""
        loop = self._loop
        if loop is None:
            return
        if loop.state.standing is not None and loop.state.read_at > self.read_at:
            self.take(loop.state.standing.position, loop.state.read_at)
        self._count(loop)
        if self._strikes and now - self._began_at > _HEALTHY_SECONDS:
            self._strikes = 0
        blocked = loop.blocked_since
        if blocked is not None and now - blocked >= _BLOCKED_SECONDS and self._places.anybody_waits:
            self._forget_loop()
            self._tasks.spawn(self._suspend(loop), "suspend")

    def _count(self, loop: UserLoop) -> None:
        """Cycles of the run by the journal's number, which outlives every process."""
        state = loop.state
        if self._first_cycle is not None:
            self._cycles = max(self._cycles, state.cycle - self._first_cycle - state.round_open)
        self.last_round = loop.last_round or self.last_round

    def take(self, position: Position | None, at: float) -> None:
        """A position read at that monotonic time; none could be had, the old one stays."""
        self.position = position or self.position
        self.read_at = at

    async def _suspend(self, loop: UserLoop) -> None:
        await loop.abort()
        self._give_place_back()
        if self.ended is None and self._loop is None:
            if self.paused:
                self._parked = True
            else:
                self.start(resumed=True)

    def _granted(self) -> None:
        self._has_place = True
        self._begin()

    def _give_place_back(self) -> None:
        if self._has_place:
            self._has_place = False
            self._places.give_back(self.user_id)

    def _begin(self) -> None:
        self._timer = None
        self._began_at = self._world.clock.monotonic()
        self._crash = ""
        loop = UserLoop(
            self.rules,
            self.scope,
            self._world,
            delay=self._delay,
            resumed=self._resumed,
            met=self._met,
            paused=self.paused,
            found=self._found,
        )
        self._loop, self._delay, self._resumed = loop, 0.0, True
        loop.ended.add_done_callback(lambda _: self._loop_ended(loop))
        loop.start()

    def _found(self, cycle: int) -> None:
        if self._first_cycle is None:
            self._first_cycle = self._find_first(cycle)

    def _loop_ended(self, loop: UserLoop) -> None:
        if loop is not self._loop or loop.ended.cancelled():
            return
        self.beat(self._world.clock.monotonic())
        error = loop.ended.exception()
        state = loop.state
        self._forget_loop()
        if error is None or self._stop is not None:
            self._leave(loop)
        if error is None:
            self._give_place_back()
            self._end(loop.ended.result(), state.left_open, state.waiting.code, state.waiting.text)
        else:
            self._crashed(error)

    def _leave(self, loop: UserLoop) -> None:
        """What the loop could not hand over stands in the run table before its end does."""
        self._world.leftovers.add(loop.unsettled())

    def _forget_loop(self) -> None:
        if self._loop is not None:
            self._count(self._loop)
            self._guard_waits += self._loop.state.guard_waits
        self._loop = None
        self._since = self._world.clock.now()

    def _crashed(self, error: BaseException) -> None:
        self._strikes += 1
        self._crash = f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))
        _log.error("loop crashed", user_id=self.user_id, strikes=self._strikes, traceback=trace)
        if self._stop is not None:
            self._give_place_back()
            self._end_unread(None)
        elif self._strikes >= _MOST_STRIKES:
            self._give_place_back()
        else:
            seconds = min(_MOST_BACKOFF_SECONDS, 2.0 ** (self._strikes - 1))
            self._again_at = self._world.clock.monotonic() + seconds
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _end_unread(self, buy: Order | None) -> None:
        """Stopped without a last look: by what was read last, what is to be cancelled still will be."""
        known = self.position.open_orders if self.position is not None else ()
        still_open = [order for order in (*known, *((buy,) if buy else ())) if not order.is_over]
        if self._stop in (StopMode.CANCEL, StopMode.FLATTEN):
            self._world.leftovers.add(cancel_wishes(self.rules, still_open))
        self._end(Outcome.STOPPED, tuple(dict.fromkeys(order.order_id for order in still_open)))

    def left_open(self, order_id: str) -> None:
        """It left this order too, as was found out later."""
        if self.ended is not None and order_id not in self.ended.left_open:
            self.ended = self.ended._replace(left_open=(*self.ended.left_open, order_id))

    def _end(
        self, outcome: Outcome, left: tuple[str, ...], code: Reason | None = None, text: str = ""
    ) -> None:
        self.ended = Ended(outcome, self._world.clock.now(), left)
        self._since = self.ended.ended_at
        self._end_code, self._end_text = code, text or outcome.value.replace("_", " ")
        try:
            self._on_ended(self)
        finally:
            self.finished.set()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._give_place_back()

    _end_code: Reason | None = None
    _end_text = ""

    @property
    def needs_person(self) -> bool:
        """Five crashes: it does not start again by itself."""
        return self.ended is None and self._loop is None and self._strikes >= _MOST_STRIKES

    @property
    def waits_for_rules(self) -> bool:
        """Might it trade by other rules of the venue?"""
        return self._loop is not None and self._loop.state.waiting.code in _OF_RULES

    def _condition(self) -> tuple[UserState, Reason, str]:
        if self.ended is not None:
            outcome = self.ended.outcome.value
            return UserState(outcome), self._end_code or Reason(outcome), self._end_text
        if self._loop is None:
            if self._strikes >= _MOST_STRIKES:
                text = f"crashed {self._strikes} times, last {self._crash}: see the log, then start it again"
                return UserState.NEEDS_PERSON, Reason.CRASHED_OFTEN, text
            if self._timer is not None:
                return UserState.BLOCKED, Reason.CRASHED, f"starts again after: {self._crash}"
            if self.paused:
                return UserState.PAUSED, Reason.PAUSED, "paused: `otopilot resume` lets it go on"
            return UserState.QUEUED, Reason.QUEUED, "waits for one of the places of max_concurrent_users"
        state = self._loop.state
        waiting = state.waiting
        if state.ending is not None:
            return UserState.STOPPING, waiting.code, waiting.text
        condition = {
            Condition.RUNNING: UserState.RUNNING,
            Condition.BLOCKED: UserState.BLOCKED,
            Condition.NEEDS_PERSON: UserState.NEEDS_PERSON,
            Condition.PAUSED: UserState.PAUSED,
        }[waiting.condition]
        return condition, waiting.code, waiting.text

    def status(self, per_user: bool) -> UserStatus:
        """What an operator is told."""
        state, code, text = self._condition()
        loop, member = self._loop, self.member
        if loop is not None:
            self._count(loop)
        return UserStatus(
            user_id=self.user_id,
            state=state,
            code=code,
            reason=text,
            since=loop.changed_at if loop is not None else self._since,
            volume=member.counted if member is not None else ZERO,
            volume_known=member is not None,
            volume_complete=member is not None and member.complete,
            target=self.scope.target if per_user else None,
            volume_per_minute=self.rate.per_minute(),
            cycles=self._cycles,
            position=self.position,
            guard_waits=self._guard_waits + (loop.state.guard_waits if loop is not None else 0),
            left_open=self.ended.left_open if self.ended is not None else (),
        )
