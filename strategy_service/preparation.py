"""What must be there before a strategy's loops can start: its instrument and its volume scopes."""

import grpc

from otopilot.instrument import Instrument
from otopilot.rpc import Fault
from strategy_service.clients import CallFailed, MarketClient, Refused
from strategy_service.config import StrategyConfig
from strategy_service.right import PlacingRight
from strategy_service.state import waits_for_right
from strategy_service.strategy_run import StrategyRun

RULES_SECONDS = 300.0  # the venue's rules of a symbol are read anew when they are older
_RIGHT_SECONDS = 2.0


class Preparation:
    """Resolves tokens and writes scopes. Every failure is a Fault for whoever asked for the start."""

    def __init__(self, market: MarketClient, right: PlacingRight) -> None:
        self._market = market
        self._right = right

    async def prepare(self, run: StrategyRun) -> None:
        """Make a run ready to begin. Raises Fault (UNKNOWN_TOKEN, OTHER_OWNER; UNAVAILABLE: try again)."""
        run.prepare(await self.resolve(run.config))
        if run.ended_at is not None:
            return
        if await self._set_scopes(run):
            return
        # The epoch was of another start, and is claimed anew, or another owner has the right.
        if not await self._set_scopes(run):
            raise _unavailable("order", "the placing right was lost while scopes were written")

    async def _set_scopes(self, run: StrategyRun) -> bool:
        """False when the placing right is stale. Raises Fault."""
        right = self._right
        held = await right.held(_RIGHT_SECONDS)
        if right.other_owner:
            code = grpc.StatusCode.FAILED_PRECONDITION
            raise Fault(code, "OTHER_OWNER", waits_for_right(right.other_owner))
        if not held:
            raise _unavailable("order", right.error or "no answer")
        epoch = right.owner_epoch
        try:
            written, unwritten = await run.scopes.write(epoch)
        except Refused as no:
            right.refused(epoch, no)
            return False
        if unwritten is not None and not written:
            if isinstance(unwritten, Refused):
                raise Fault(grpc.StatusCode.UNAVAILABLE, unwritten.reason, unwritten.message)
            raise _unavailable("order", str(unwritten))
        if unwritten is not None:
            right.want()  # the others go on, this one is tried again
        return True

    async def resolve(self, config: StrategyConfig, max_age_seconds: float = RULES_SECONDS) -> Instrument:
        """The instrument of the strategy's token, its rules no older. Raises Fault."""
        place = f" on {config.target_chain}" if config.target_chain else ""
        try:
            return await self._market.instrument(
                config.venue, config.target_token, config.target_chain, max_age_seconds
            )
        except Refused as error:
            text = (
                f"strategy {config.strategy_id}: {config.venue} has no {config.target_token}{place}: {error}"
            )
            raise Fault(grpc.StatusCode.FAILED_PRECONDITION, "UNKNOWN_TOKEN", text) from error
        except (CallFailed, ValueError) as error:
            raise _unavailable("market", str(error)) from error


def _unavailable(service: str, text: str) -> Fault:
    reason = f"{service.upper()}_UNREACHABLE"
    return Fault(grpc.StatusCode.UNAVAILABLE, reason, f"{service} service cannot be reached: {text}")
