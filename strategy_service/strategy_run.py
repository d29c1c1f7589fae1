"""One strategy's run: its instrument, its volume scopes, its users.

Owned by the supervisor. Before the users can start, the token is resolved and the scopes are
set; until then every user is shown as blocked, with the reason.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from otopilot.instrument import Instrument
from otopilot.order import ScopeId, StrategyId, UserId
from otopilot.position import ScopeVolume, VolumeScope
from otopilot.quote import Quote
from strategy_service.clients import CallFailed, PriceKey
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.history import Ended
from strategy_service.loop import World
from strategy_service.places import Places
from strategy_service.reasons import Reason, reason_of
from strategy_service.runs import EVERYBODY, Runs
from strategy_service.scopes import Scopes
from strategy_service.state import Outcome, Rules, StopMode
from strategy_service.status import StrategyStatus, UserState, UserStatus
from strategy_service.user_run import UserRun

_LAST_CALLS_SECONDS = 0.12  # the last of a stop's time: for the cancel wishes of loops that ended,
_FIGURES_SECONDS = 0.06  # and of that for their figures
_MET = frozenset({Outcome.REACHED, Outcome.SKIPPED})


class StrategyRun:
    """Owns the users of one strategy for one run."""

    def __init__(self, config: StrategyConfig, world: World, runs: Runs, places: Places) -> None:
        self.config = config
        self.instrument: Instrument | None = None
        self.scopes = Scopes(world.orders, runs, self._spread)
        self.users: dict[str, UserRun] = {}
        self.volumes: dict[ScopeId, ScopeVolume] = {}  # each scope's figures as they were last read
        self.blocked: tuple[str, str] = ("starting", "is being started")
        self.started_at: datetime = world.clock.now()
        self.ended_at: datetime | None = None
        self.resumed = False  # it ran in an earlier process
        self.draining: set[str] = set()  # users the configuration does not list any more
        self._leaving = False
        self._quote: Quote | None = None
        self._met: Outcome | None = None  # the shared target was reached in this run, and how
        self._world = world
        self._runs = runs
        self._places = places

    @property
    def strategy_id(self) -> str:
        """Which strategy."""
        return self.config.strategy_id

    @property
    def is_running(self) -> bool:
        """Does a loop of it run or wait, or is it being started?"""
        if not self.users:
            return self.ended_at is None
        return any(user.ended is None for user in self.users.values())

    @property
    def per_user(self) -> bool:
        """Has each user its own target?"""
        return self.config.target_scope == "per_user"

    def knows(self, user_id: str) -> bool:
        """Does, or did, that user take part?"""
        return user_id in self.users or user_id in self.config.user_ids

    def members(self, user_id: str = "") -> list[UserRun]:
        """That user's part, or everybody's."""
        return [user for user in self.users.values() if user_id in ("", user.user_id)]

    # ------------------------------------------------------------------ beginning

    def prepare(self, instrument: Instrument) -> None:
        """The token is resolved: from it follow scopes and rules."""
        self.instrument = instrument
        self.scopes.make(self.config, instrument)

    async def touch_scope(self, owner_epoch: int) -> None:
        """Write one scope that stands already. Raises CallFailed: the epoch may be stale."""
        # One whose history is being read would be read again for it.
        unread = (user.scope.scope_id for user in self.users.values() if not user.history_read)
        await self.scopes.touch(owner_epoch, unread)

    def begin(self, *, resumed: bool) -> None:
        """Start every user that has not ended in this run; their phases are spread (performance 2.5)."""
        ended = self._runs.ended_users(self.strategy_id)
        wished = self._runs.stop_wishes(self.strategy_id)
        for each in ended.values():
            if each.outcome in _MET and self.ended_at is None:
                self._meet(each.outcome)
        count = len(self.config.users)
        for index, settings in enumerate(self.config.users):
            if (known := self.users.get(settings.user_id)) is not None:
                known.obey(*self._rules(settings))  # the symbol may have been read again since
                continue
            user = self._add(settings)
            if settings.user_id in ended:
                user.restore(ended[settings.user_id])
            elif self.ended_at is not None:  # added to the file after the run was over
                user.restore(Ended(Outcome.STOPPED, self.ended_at, ()))
            else:
                interval = float(settings.trade_interval_seconds)
                user.start(delay=min(interval, 60.0) * index / count, resumed=resumed)
                if settings.user_id in wished:
                    user.stop(wished[settings.user_id])  # it was winding down when the process went
        self._note_end()

    def restart_stopped(self) -> None:
        """Who was stopped takes part again, and who has not reached its own target as it is now."""
        if not self.users:  # its loops are not there yet: what was wished of them is wished no more
            for user_id in self._runs.stop_wishes(self.strategy_id):
                self._runs.forget_user(self.strategy_id, user_id)
        for settings in self.config.users:
            user = self.users.get(settings.user_id)
            short = self.per_user and user is not None and user.fell_short
            if user is not None and (user.stopping or user.stopped or user.needs_person or short):
                self._runs.forget_user(self.strategy_id, settings.user_id)
                if user.stopping:  # for longer than a stop may take: it takes part again after its end
                    self.draining.add(settings.user_id)
                else:
                    self._add(settings).start(resumed=True)
        self.ended_at = None if self.is_running else self.ended_at

    def _add(self, settings: UserSettings) -> UserRun:
        rules, scope = self._rules(settings)
        name = settings.user_id
        if name not in self._runs.ended_users(self.strategy_id):
            self._world.leftovers.forget(self.strategy_id, name)
        user = UserRun(
            rules,
            scope,
            self._world,
            self._places,
            self._user_ended,
            partial(self._runs.first_cycle, self.strategy_id, name),
            paused=not self._runs.paused(self.strategy_id).isdisjoint({name, EVERYBODY}),
        )
        if self._met is not None:
            user.meet(self._met)
        earlier = self.users.get(name)
        if earlier is not None:
            user.take(earlier.position, earlier.read_at)
            user.member = earlier.member
        self.users[name] = user
        return user

    def _rules(self, settings: UserSettings) -> tuple[Rules, VolumeScope]:
        assert self.instrument is not None
        scope = self.scopes.of(self.config, settings.user_id)
        rules = Rules(
            user_id=UserId(settings.user_id),
            strategy_id=StrategyId(self.strategy_id),
            scope_id=scope.scope_id,
            instrument=self.instrument,
            settings=settings,
            sells_count=self.config.volume_side == "both",
        )
        return rules, scope

    # ------------------------------------------------------------------ changing

    def apply(self, config: StrategyConfig) -> None:
        """New configuration on the same market, for the next cycles. Raises Fault RUN_TABLE, unchanged."""
        if self.instrument is not None:
            self.scopes.make(config, self.instrument)
        added = set(config.user_ids) - set(self.config.user_ids)
        self.config = config
        if self.instrument is None:  # its loops begin later: with who is new, however it ended before
            for user_id in sorted(added):
                self._runs.forget_user(self.strategy_id, user_id)
            return
        if not self.is_running:
            return
        for settings in config.users:
            user = self.users.get(settings.user_id)
            if user is not None and settings.user_id not in self.draining:
                user.obey(*self._rules(settings))
                continue
            self._runs.forget_user(self.strategy_id, settings.user_id)  # for the next process, too
            if user is None or user.ended is not None:
                self._take_part(settings)
        for user_id, user in self.users.items():
            if user_id not in config.user_ids:
                self.draining.add(user_id)
                self.stop([user], StopMode.DRAIN)

    def stop(self, users: Iterable[UserRun], mode: StopMode) -> None:
        """Wind users down; the wish outlives this process."""
        for user in users:
            if user.ended is None:
                self.draining -= {user.user_id} & set(self.config.user_ids)  # it was to take part again
                self._runs.wish_stop(self.strategy_id, user.user_id, mode)
                user.stop(mode)

    def can_pause(self, user_id: str) -> bool:
        """Does anybody run whom a pause would mean?"""
        if not self.users:
            return self.is_running and (not user_id or user_id in self.config.user_ids)
        return any(user.ended is None for user in self.members(user_id))

    def pause(self, user_id: str) -> None:
        """No new BUY of that user, or of whoever takes part; the pause outlives this process."""
        self._runs.pause(self.strategy_id, [user_id])
        self._tell_pauses()

    def resume(self, user_id: str) -> None:
        """Go on with that user, or with everybody."""
        paused = self._runs.paused(self.strategy_id)
        if user_id == EVERYBODY:
            self._runs.resume(self.strategy_id, paused)
        else:
            if EVERYBODY in paused:  # from here on it is a matter of each of the others
                self._runs.pause(self.strategy_id, self.config.user_ids)
            self._runs.resume(self.strategy_id, [EVERYBODY, user_id])
        self._tell_pauses()

    def _tell_pauses(self) -> None:
        paused = self._runs.paused(self.strategy_id)
        for user in self.users.values():
            now = not paused.isdisjoint({user.user_id, EVERYBODY})
            if user.paused != now:
                user.pause(now)

    def _take_part(self, settings: UserSettings) -> None:
        self.draining.discard(settings.user_id)
        self._add(settings).start()

    def refresh(self, instrument: Instrument) -> None:
        """The venue's rules as they are now."""
        if instrument == self.instrument:
            return
        self.instrument = instrument
        for settings in self.config.users:
            if (user := self.users.get(settings.user_id)) is not None:
                user.obey(*self._rules(settings))

    # ------------------------------------------------------------------ figures

    async def read_volumes(self) -> None:
        """Each scope's figures; who reached the shared target is told at once."""
        for scope in self.scopes.all():
            try:
                self._spread(await self._world.orders.volume(scope))
            except (CallFailed, ValueError):
                return  # the figures stay what they were; the loops say why

    def _spread(self, volume: ScopeVolume) -> None:
        self.volumes[volume.scope.scope_id] = volume
        reached = volume.counted >= volume.scope.target
        members = {member.user_id: member for member in volume.members}
        for user in self.users.values():
            if user.scope.scope_id != volume.scope.scope_id:
                continue
            user.member = members.get(user.rules.user_id)
            if reached:
                user.nudge()
        if reached and any(user.ended is None and user.began for user in self.users.values()):
            self._meet(Outcome.REACHED)

    def beat(self, now: float) -> None:
        """Once a second."""
        self._quote = self._newest_quote()
        for user in self.users.values():
            user.beat(now)
            if user.member is not None:
                user.rate.sample(now, user.member.counted)

    def _meet(self, outcome: Outcome) -> None:
        """The shared target was reached: nobody of this run goes on in the next day's window."""
        if self.per_user or self._met is not None:
            return
        self._met = outcome
        for user in list(self.users.values()):
            user.meet(outcome)

    def leave(self) -> None:
        """The process goes: everybody winds down, and takes part again in the next one."""
        self._leaving = True
        for user in self.members():
            user.stop(StopMode.DRAIN)

    def _user_ended(self, user: UserRun) -> None:
        assert user.ended is not None
        if self._leaving and user.ended.outcome is Outcome.STOPPED:
            return  # nobody asked for its end; a stop that was asked for stands in the table as a wish
        again = user.user_id in self.draining and user.user_id in self.config.user_ids
        if not again:
            self._runs.end_user(self.strategy_id, user.user_id, user.ended)
        if user.ended.outcome in _MET:
            self._meet(user.ended.outcome)
        if again:  # listed, or started, again while it was winding down
            self._take_part(self.config.user(user.user_id))
        self._note_end()

    def found_open(self, user_id: str, order_id: str) -> None:
        """A user left this order open, as was found out after its end."""
        user = self.users.get(user_id)
        if user is not None and user.ended is not None:
            user.left_open(order_id)
            self._runs.end_user(self.strategy_id, user_id, user.ended)

    def _note_end(self) -> None:
        stays = self._leaving and any(user.stopped for user in self.members())
        if self.users and not self.is_running and self.ended_at is None and not stays:
            known = self._runs.run(self.strategy_id)
            self.ended_at = known.ended_at if known and known.ended_at else self._world.clock.now()
            self._runs.end(self.strategy_id, self.ended_at)

    async def ended(self, users: Iterable[UserRun], seconds: float) -> None:
        """Wait so long at most until those users have ended; the others are given up, their orders named."""
        users, clock = list(users), self._world.clock
        waits = [asyncio.ensure_future(user.finished.wait()) for user in users]
        if not waits:
            return
        by = clock.monotonic() + seconds
        try:
            await asyncio.wait(waits, timeout=max(0.0, seconds - _LAST_CALLS_SECONDS))
        finally:
            for wait in waits:
                wait.cancel()
        for user in users:
            if user.stopping:  # whoever was started again meanwhile goes on
                user.give_up()
        ids = [user.user_id for user in users]
        left = by - _FIGURES_SECONDS - clock.monotonic()
        await self._world.leftovers.taken(self.strategy_id, ids, max(0.0, left))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, by - clock.monotonic())):
                await self.read_volumes()  # what their last rounds traded too

    def status(self, config_revision: str) -> StrategyStatus:
        """What an operator is told."""
        leaving = [u.user_id for u in self.members() if u.user_id in self.draining and u.ended is None]
        instrument = self.instrument
        quote = self._newest_quote()
        age = quote.age(self._world.clock.now()).total_seconds() if quote is not None else 0.0
        return describe(
            self.config,
            tuple(self._user_status(user_id) for user_id in (*self.config.user_ids, *leaving)),
            symbol=instrument.symbol if instrument is not None else "",
            last_price=quote.price if quote is not None else None,
            price_age_ms=int(age * 1000),
            started_at=self.started_at,
            ended_at=self.ended_at,
            config_revision=config_revision,
        )

    def _newest_quote(self) -> Quote | None:
        """Of the stream; when nobody listens to the symbol any more, the last one it told."""
        instrument = self.instrument
        if instrument is None:
            return None
        now = self._world.prices.quote(PriceKey(instrument.venue, instrument.symbol))
        return now if now is not None else self._quote

    def _user_status(self, user_id: str) -> UserStatus:
        user = self.users.get(user_id)
        if user is not None:
            told = user.status(self.per_user)
            leaving = user_id not in self.config.user_ids
            return msgspec.structs.replace(told, leaving=True) if leaving else told
        if self.ended_at is not None:
            return UserStatus(user_id=user_id, state=UserState.STOPPED, code=Reason.STOPPED)
        code, text = self.blocked
        return UserStatus(
            user_id=user_id,
            state=UserState.BLOCKED,
            code=reason_of(code),
            reason=text,
            since=self.started_at,
            target=self.config.target_volume if self.per_user else None,
        )


def describe(config: StrategyConfig, users: tuple[UserStatus, ...], **more: Any) -> StrategyStatus:
    """A strategy's status from its configuration, its users' statuses and what else is known."""
    return StrategyStatus(
        strategy_id=config.strategy_id,
        strategy_name=config.strategy_name,
        enabled=config.enabled,
        venue=config.venue,
        token=config.target_token,
        target_scope=config.target_scope,
        target_volume=config.target_volume,
        users=users,
        **more,
    )
