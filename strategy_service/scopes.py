"""The volume scopes of one strategy: its target as order_service is to hold it (architecture 5.7).

One for the strategy, or one for each user with per_user targets. A revision goes with each
content; the run table remembers both, so that an older one never replaces a newer one.
"""

from collections.abc import Callable, Iterable

import msgspec

from otopilot import log
from otopilot.instrument import Instrument
from otopilot.order import ScopeId, UserId
from otopilot.position import ScopeMember, ScopeVolume, VolumeScope, VolumeSide, VolumeWindow
from strategy_service.clients import CallFailed, OrderClient, Refused
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.runs import Runs

_log = log.get("scopes")

Told = Callable[[ScopeVolume], None]


class Scopes:
    """Owns the scopes as they are now; `told` hears the figures of each that was written."""

    def __init__(self, orders: OrderClient, runs: Runs, told: Told) -> None:
        self._orders = orders
        self._runs = runs
        self._told = told
        self._scopes: dict[ScopeId, VolumeScope] = {}

    def make(self, config: StrategyConfig, instrument: Instrument) -> None:
        """From the configuration follow the scopes."""
        members = [_member(settings, config, instrument) for settings in config.users]
        groups = (
            [(m,) for m in members]
            if config.target_scope == "per_user"
            else [tuple(sorted(members, key=lambda m: m.user_id))]
        )
        made = [self._scope(config, group) for group in groups]
        self._scopes = {scope.scope_id: scope for scope in made}

    def of(self, config: StrategyConfig, user_id: str) -> VolumeScope:
        """The scope a user's placements name."""
        return self._scopes[_scope_id(config, user_id)]

    def all(self) -> list[VolumeScope]:
        """Every scope."""
        return list(self._scopes.values())

    async def write(self, owner_epoch: int) -> tuple[int, CallFailed | ValueError | None]:
        """Write every scope: how many were taken, and what was wrong with one that was not.

        One that is written already changes nothing, one that cannot be written keeps no other from
        being written. Raises Refused (STALE_OWNER).
        """
        written, wrong = 0, None
        for scope in self.all():
            try:
                self._told(await self._set(scope, owner_epoch))
                written += 1
            except (CallFailed, ValueError) as error:
                if isinstance(error, Refused) and error.reason == "STALE_OWNER":
                    raise
                _log.warning("scope not written", scope_id=scope.scope_id, error=str(error))
                wrong = error
        return written, wrong

    async def touch(self, owner_epoch: int, but: Iterable[ScopeId]) -> None:
        """Write one scope that stands already. Raises CallFailed: the epoch may be stale."""
        left_out = set(but)
        scope = next((scope for scope in self.all() if scope.scope_id not in left_out), None)
        if scope is not None:
            await self._orders.set_scope(scope, owner_epoch)

    async def _set(self, scope: VolumeScope, owner_epoch: int) -> ScopeVolume:
        try:
            return await self._orders.set_scope(scope, owner_epoch)
        except Refused as error:
            if error.reason != "STALE_REVISION":
                raise
        # The run table was lost, the journal was not: go on above what it has.
        known = await self._orders.scope_revision(scope.scope_id)
        newer = self._with_revision(scope, at_least=known + 1)
        self._scopes[scope.scope_id] = newer
        return await self._orders.set_scope(newer, owner_epoch)

    def _scope(self, config: StrategyConfig, members: tuple[ScopeMember, ...]) -> VolumeScope:
        scope = VolumeScope(
            scope_id=_scope_id(config, members[0].user_id),
            members=members,
            side=VolumeSide(config.volume_side),
            window=VolumeWindow(config.volume_window.kind),
            since=config.volume_window.since,
            target=config.target_volume,
            revision=0,
        )
        return self._with_revision(scope)

    def _with_revision(self, scope: VolumeScope, at_least: int = 1) -> VolumeScope:
        content = msgspec.json.encode(msgspec.structs.replace(scope, revision=0)).decode()
        revision = self._runs.scope_revision(scope.scope_id, content, at_least)
        return msgspec.structs.replace(scope, revision=revision)


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
