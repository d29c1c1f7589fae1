"""One strategy's run: its instrument, its volume scopes, its users.

Owned by the supervisor. Before the users can start, the token is resolved and the scopes are
set; until then every user is shown as blocked, with the reason.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from otopilot import log
from otopilot.instrument import Instrument
from otopilot.order import ScopeId, StrategyId, UserId
from otopilot.position import ScopeMember, ScopeVolume, VolumeScope, VolumeSide, VolumeWindow
from strategy_service.clients import CallFailed, PriceKey, Refused
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.loop import World
from strategy_service.places import Places
from strategy_service.runs import Ended, Runs
from strategy_service.state import Outcome, Rules, StopMode
from strategy_service.status import StrategyStatus, UserState, UserStatus
from strategy_service.user_run import UserRun

_log = log.get("strategy_run")

_LAST_CALLS_SECONDS = 2.0  # for the cancel wishes of loops that ended
_MET = frozenset({Outcome.REACHED, Outcome.SKIPPED})


class StrategyRun:
    """Owns the users of one strategy for one run."""

    def __init__(self, config: StrategyConfig, world: World, runs: Runs, places: Places) -> None:
        self.config = config
        self.instrument: Instrument | None = None
        self.scopes: dict[ScopeId, VolumeScope] = {}
        self.users: dict[str, UserRun] = {}
        self.blocked: tuple[str, str] = ("starting", "is being started")
        self.started_at: datetime = world.clock.now()
        self.ended_at: datetime | None = None
        self.resumed = False  # it ran in an earlier process
        self.draining: set[str] = set()  # users the configuration does not list any more
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

    # ------------------------------------------------------------------ beginning

    def prepare(self, instrument: Instrument) -> None:
        """The token is resolved: from it follow scopes and rules."""
        self.instrument = instrument
        self.scopes = {scope.scope_id: scope for scope in self._make_scopes(self.config, instrument)}

    async def set_scopes(self, owner_epoch: int) -> tuple[int, CallFailed | ValueError | None]:
        """Write every scope: how many were taken, and what was wrong with one that was not.

        One that is written already changes nothing, one that cannot be written keeps no other from
        being written. Raises Refused (STALE_OWNER).
        """
        written, wrong = 0, None
        for scope in list(self.scopes.values()):
            try:
                self._spread(await self._set_scope(scope, owner_epoch))
                written += 1
            except (CallFailed, ValueError) as error:
                if isinstance(error, Refused) and error.reason == "STALE_OWNER":
                    raise
                _log.warning("scope not written", scope_id=scope.scope_id, error=str(error))
                wrong = error
        return written, wrong

    async def touch_scope(self, owner_epoch: int) -> None:
        """Write one scope that stands already. Raises CallFailed: the epoch may be stale."""
        # One whose history is being read would be read again for it.
        incomplete = {user.scope.scope_id for user in self.users.values() if not user.history_read}
        scope = next((s for s in self.scopes.values() if s.scope_id not in incomplete), None)
        if scope is not None:
            await self._world.orders.set_scope(scope, owner_epoch)

    async def _set_scope(self, scope: VolumeScope, owner_epoch: int) -> ScopeVolume:
        orders = self._world.orders
        try:
            return await orders.set_scope(scope, owner_epoch)
        except Refused as error:
            if error.reason != "STALE_REVISION":
                raise
        # The run table was lost, the journal was not: go on above what it has.
        known = await orders.scope_revision(scope.scope_id)
        newer = self._with_revision(scope, at_least=known + 1)
        self.scopes[scope.scope_id] = newer
        return await orders.set_scope(newer, owner_epoch)

    def begin(self, *, resumed: bool) -> None:
        """Start every user that has not ended in this run; their phases are spread (performance 2.5)."""
        ended = self._runs.ended_users(self.strategy_id)
        wished = self._runs.stop_wishes(self.strategy_id)
        for each in ended.values():
            if each.outcome in _MET and self.ended_at is None:
                self._meet(each.outcome)
        count = len(self.config.users)
        for index, settings in enumerate(self.config.users):
            if settings.user_id in self.users:
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
        for settings in self.config.users:
            user = self.users.get(settings.user_id)
            stopped = user is not None and user.ended is not None and user.ended.outcome is Outcome.STOPPED
            short = self.per_user and user is not None and user.fell_short
            if user is not None and (stopped or short or user.needs_person):
                self._runs.forget_user(self.strategy_id, settings.user_id)
                self._add(settings).start(resumed=True)
        self.ended_at = None if self.is_running else self.ended_at

    def _add(self, settings: UserSettings) -> UserRun:
        rules, scope = self._rules(settings)
        if settings.user_id not in self._runs.ended_users(self.strategy_id):
            self._world.leftovers.forget(self.strategy_id, settings.user_id)
        user = UserRun(rules, scope, self._world, self._places, self._user_ended)
        if self._met is not None:
            user.meet(self._met)
        earlier = self.users.get(settings.user_id)
        if earlier is not None:
            user.take(earlier.position, earlier.read_at)
            user.member = earlier.member
        self.users[settings.user_id] = user
        return user

    def _rules(self, settings: UserSettings) -> tuple[Rules, VolumeScope]:
        assert self.instrument is not None
        scope = self.scopes[_scope_id(self.config, settings.user_id)]
        rules = Rules(
            user_id=UserId(settings.user_id),
            strategy_id=StrategyId(self.strategy_id),
            scope_id=scope.scope_id,
            instrument=self.instrument,
            settings=settings,
            sells_count=self.config.volume_side == "both",
        )
        return rules, scope

    def _make_scopes(self, config: StrategyConfig, instrument: Instrument) -> Iterable[VolumeScope]:
        members = [_member(settings, config, instrument) for settings in config.users]
        groups = (
            [(m,) for m in members]
            if config.target_scope == "per_user"
            else [tuple(sorted(members, key=lambda m: m.user_id))]
        )
        for group in groups:
            scope = VolumeScope(
                scope_id=_scope_id(config, group[0].user_id),
                members=group,
                side=VolumeSide(config.volume_side),
                window=VolumeWindow(config.volume_window.kind),
                since=config.volume_window.since,
                target=config.target_volume,
                revision=0,
            )
            yield self._with_revision(scope)

    def _with_revision(self, scope: VolumeScope, at_least: int = 1) -> VolumeScope:
        content = msgspec.json.encode(msgspec.structs.replace(scope, revision=0)).decode()
        revision = self._runs.scope_revision(scope.scope_id, content, at_least)
        return msgspec.structs.replace(scope, revision=revision)

    # ------------------------------------------------------------------ changing

    def apply(self, config: StrategyConfig) -> None:
        """New configuration on the same market: loops take it at their next cycle; set_scopes follows."""
        self.config = config
        if self.instrument is None:
            return
        self.prepare(self.instrument)
        if not self.is_running:
            return
        for settings in config.users:
            user = self.users.get(settings.user_id)
            if user is None:
                self._take_part(settings)
            elif settings.user_id in self.draining:
                if user.ended is not None:
                    self._take_part(settings)
            else:
                user.obey(*self._rules(settings))
        for user_id, user in self.users.items():
            if user_id not in config.user_ids:
                self.draining.add(user_id)
                self.stop([user], StopMode.DRAIN)

    def stop(self, users: Iterable[UserRun], mode: StopMode) -> None:
        """Wind users down; the wish outlives this process."""
        for user in users:
            if user.ended is None:
                self._runs.wish_stop(self.strategy_id, user.user_id, mode)
                user.stop(mode)

    def _take_part(self, settings: UserSettings) -> None:
        self.draining.discard(settings.user_id)
        self._runs.forget_user(self.strategy_id, settings.user_id)
        self._add(settings).start()

    def refresh(self, instrument: Instrument) -> None:
        """The venue's rules as they are now."""
        if instrument == self.instrument:
            return
        self.instrument = instrument
        for settings in self.config.users:
            user = self.users.get(settings.user_id)
            if user is not None:
                user.obey(*self._rules(settings))

    # ------------------------------------------------------------------ figures

    async def read_volumes(self) -> None:
        """Each scope's figures; who reached the shared target is told at once."""
        for scope in list(self.scopes.values()):
            try:
                self._spread(await self._world.orders.volume(scope))
            except (CallFailed, ValueError):
                return  # the figures stay what they were; the loops say why

    def _spread(self, volume: ScopeVolume) -> None:
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

    def _user_ended(self, user: UserRun) -> None:
        assert user.ended is not None
        self._runs.end_user(self.strategy_id, user.user_id, user.ended)
        if user.ended.outcome in _MET:
            self._meet(user.ended.outcome)
        if user.user_id in self.draining and user.user_id in self.config.user_ids:
            self._take_part(self.config.user(user.user_id))  # listed again while it was winding down
        self._note_end()

    def _note_end(self) -> None:
        if self.users and not self.is_running and self.ended_at is None:
            known = self._runs.run(self.strategy_id)
            self.ended_at = known.ended_at if known and known.ended_at else self._world.clock.now()
            self._runs.end(self.strategy_id, self.ended_at)

    async def ended(self, users: Iterable[UserRun], seconds: float) -> None:
        """Wait until those users have ended; who takes longer is given up, its orders named."""
        waits = [asyncio.ensure_future(user.finished.wait()) for user in users]
        if not waits:
            return
        try:
            await asyncio.wait(waits, timeout=seconds)
        finally:
            for wait in waits:
                wait.cancel()
        for user in users:
            user.give_up()
        ids = [user.user_id for user in users]
        await self._world.leftovers.taken(self.strategy_id, ids, _LAST_CALLS_SECONDS)
        await self.read_volumes()  # what their last rounds traded too

    def status(self, config_revision: str) -> StrategyStatus:
        """What an operator is told."""
        instrument = self.instrument
        quote = None
        if instrument is not None:
            quote = self._world.prices.quote(PriceKey(instrument.venue, instrument.symbol))
        age = quote.age(self._world.clock.now()).total_seconds() if quote is not None else 0.0
        return describe(
            self.config,
            tuple(self._user_status(settings.user_id) for settings in self.config.users),
            symbol=instrument.symbol if instrument is not None else "",
            last_price=quote.price if quote is not None else None,
            price_age_ms=int(age * 1000),
            started_at=self.started_at,
            ended_at=self.ended_at,
            config_revision=config_revision,
        )

    def _user_status(self, user_id: str) -> UserStatus:
        user = self.users.get(user_id)
        if user is not None:
            return user.status(self.per_user)
        if self.ended_at is not None:
            return UserStatus(user_id=user_id, state=UserState.STOPPED)
        code, text = self.blocked
        return UserStatus(
            user_id=user_id,
            state=UserState.BLOCKED,
            reason_code=code,
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


def _member(settings: UserSettings, config: StrategyConfig, instrument: Instrument) -> ScopeMember:
    """A user's share of the scope, with the cost limits that the placing decision holds it to."""
    return ScopeMember(
        UserId(settings.user_id),
        config.venue,
        instrument.symbol,
        settings.max_cost_usdt,
        settings.max_cost_per_1000,
    )


def _scope_id(config: StrategyConfig, user_id: str) -> ScopeId:
    if config.target_scope == "per_user":
        return ScopeId(f"{config.strategy_id}/{user_id}")
    return ScopeId(config.strategy_id)
