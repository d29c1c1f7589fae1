"""What an operator is told, for the wire. One direction only: nobody sends these to the service."""

from otopilot import wire
from protos import strategy_pb2 as pb
from strategy_service.explain import Explanation
from strategy_service.history import PastRound, PastRun
from strategy_service.reasons import ADVICE, Reason, RoundResult
from strategy_service.state import RoundEnd
from strategy_service.status import StrategyStatus, UserState, UserStatus, per_1000


def strategy(status: StrategyStatus) -> pb.StrategyStatus:
    """A strategy's status."""
    return pb.StrategyStatus(
        strategy_id=status.strategy_id,
        strategy_name=status.strategy_name,
        is_running=status.is_running,
        target_volume=wire.amount(status.target_volume),
        total_volume=wire.amount(status.total_volume),
        total_complete=status.total_complete,
        progress=status.progress,
        users=[user(each) for each in status.users],
        enabled=status.enabled,
        venue=wire.venue_to_pb(status.venue),
        symbol=status.symbol,
        token=status.token,
        target_scope=status.target_scope,
        last_price=wire.amount(status.last_price),
        price_age_ms=status.price_age_ms,
        started_at=wire.timestamp(status.started_at),
        ended_at=wire.timestamp(status.ended_at),
        eta_seconds=status.eta_seconds,
        config_revision=status.config_revision,
        volume_per_minute=wire.amount(status.volume_per_minute),
        cost=wire.amount(status.cost),
        cost_per_1000=wire.amount(status.cost_per_1000),
    )


def user(status: UserStatus) -> pb.UserStatus:
    """A user's status."""
    message = pb.UserStatus(
        user_id=status.user_id,
        state=user_state(status.state),
        reason_code=status.code.value,
        code=reason(status.code),
        reason=status.reason,
        since=wire.timestamp(status.since),
        volume=wire.amount(status.volume),
        volume_known=status.volume_known,
        volume_complete=status.volume_complete,
        target=wire.amount(status.target),
        volume_per_minute=wire.amount(status.volume_per_minute),
        cycles=status.cycles,
        cost="0",
        cost_complete=True,
        inventory="0",
        inventory_cost="0",
        residual="0",
        guard_waits=status.guard_waits,
        left_open_order_ids=status.left_open,
    )
    position = status.position
    if position is not None:
        message.cost = wire.amount(position.realised_cost)
        message.cost_per_1000 = wire.amount(per_1000(position.realised_cost, position.bought_quote))
        message.cost_complete = position.cost_complete
        message.inventory = wire.amount(position.inventory)
        message.inventory_cost = wire.amount(position.inventory_cost)
        message.residual = wire.amount(position.uncovered)
        message.open_sells = position.open_sells
    return message


def user_state(state: UserState) -> pb.UserRunState.ValueType:
    """What a loop does."""
    return pb.UserRunState.Value(f"USER_RUN_STATE_{state.name}")


def reason(code: Reason | None) -> pb.ReasonCode.ValueType:
    """A reason; not said without one."""
    return pb.ReasonCode.Value(f"REASON_CODE_{code.name}") if code else pb.REASON_CODE_UNSPECIFIED


def round_result(result: RoundResult) -> pb.RoundResult.ValueType:
    """What a round came to."""
    return pb.RoundResult.Value(f"ROUND_RESULT_{result.name}")


def explanation(told: Explanation) -> pb.Explanation:
    """Why a user trades or does not."""
    who, advice = told.status, ADVICE[told.status.code]
    message = pb.Explanation(
        strategy_id=told.strategy_id,
        user_id=who.user_id,
        state=user_state(who.state),
        code=reason(who.code),
        reason=who.reason,
        meaning=advice.meaning,
        what_to_do=advice.what_to_do,
        since=wire.timestamp(who.since),
        next_try_at=wire.timestamp(told.next_try_at),
        volume=wire.amount(who.volume) if who.volume_known else "",
        target=wire.amount(told.target),
        volume_complete=who.volume_complete,
        price=wire.amount(told.quote.price if told.quote is not None else None),
        price_age_ms=told.price_age_ms,
        swing_percentage=wire.amount(told.swing),
        blocking_price=wire.amount(told.blocking),
        max_open_sells=told.most_open_sells or 0,
        order_id=told.order_id,
        left_open_order_ids=who.left_open,
    )
    _limits(message, told)
    if told.scope is not None:
        message.scope_volume = wire.amount(told.scope.counted)
        message.reserved = wire.amount(told.scope.reserved)
        message.left = wire.amount(told.scope.left)
    if who.position is not None:
        message.open_sells = who.position.open_sells
        message.cost = wire.amount(who.position.realised_cost)
        message.cost_per_1000 = wire.amount(per_1000(who.position.realised_cost, who.position.bought_quote))
    if told.last_round is not None:
        message.last_round.CopyFrom(_round(told.strategy_id, who.user_id, told.last_round))
    return message


def _limits(message: pb.Explanation, told: Explanation) -> None:
    if told.settings is None:
        return
    message.max_price_age_ms = int(told.settings.max_quote_age_seconds * 1000)
    message.max_swing_percentage = wire.amount(told.settings.max_price_volatility_percentage)
    message.max_cost = wire.amount(told.settings.max_cost_usdt)
    message.max_cost_per_1000 = wire.amount(told.settings.max_cost_per_1000)


def past_round(kept: PastRound) -> pb.Round:
    """A round of the history."""
    message = _round(kept.strategy_id, kept.user_id, kept.end)
    message.sequence = kept.sequence
    return message


def _round(strategy_id: str, user_id: str, end: RoundEnd) -> pb.Round:
    return pb.Round(
        strategy_id=strategy_id,
        user_id=user_id,
        cycle=end.cycle,
        result=round_result(end.result),
        started_at=wire.timestamp(end.started_at),
        ended_at=wire.timestamp(end.ended_at),
        bought=wire.amount(end.bought),
        tries=end.tries,
        skipped=end.skipped,
        skipped_reason=reason(end.skipped_reason),
        late_ms=-1 if end.late is None else round(end.late * 1000),
    )


def past_run(kept: PastRun) -> pb.Run:
    """A run of the history."""
    return pb.Run(
        strategy_id=kept.strategy_id,
        started_at=wire.timestamp(kept.started_at),
        ended_at=wire.timestamp(kept.ended_at),
        config_revision=kept.config_revision,
        users=[
            pb.RunUser(
                user_id=user_id,
                outcome=user_state(UserState(ended.outcome.value)),
                ended_at=wire.timestamp(ended.ended_at),
                left_open_order_ids=ended.left_open,
            )
            for user_id, ended in kept.users.items()
        ],
    )
