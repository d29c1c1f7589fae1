"""What must be there before a strategy's loops can start: its instrument and its volume scopes."""

import grpc

from otopilot.instrument import Instrument
from otopilot.rpc import Fault
from strategy_service.clients import CallFailed, MarketClient, Refused
from strategy_service.config import StrategyConfig
from strategy_service.right import PlacingRight
from strategy_service.strategy_run import StrategyRun

_RIGHT_SECONDS = 2.0


class Preparation:
    """Resolves tokens and writes scopes. Every failure is a Fault for whoever asked for the start."""

    def __init__(self, market: MarketClient, right: PlacingRight) -> None:
        self._market = market
        self._right = right

    async def prepare(self, run: StrategyRun) -> None:
        """Make a run ready to begin. Raises Fault (UNKNOWN_TOKEN; UNAVAILABLE: try again)."""
        run.prepare(await self.resolve(run.config))
        if run.ended_at is not None:
            return
        if not await self._right.held(_RIGHT_SECONDS):
            raise _unavailable("order", self._right.error or "no answer")
        try:
            await run.set_scopes(self._right.owner_epoch)
        except Refused as error:
            self._right.lost(self._right.owner_epoch)
            raise Fault(grpc.StatusCode.UNAVAILABLE, error.reason, error.message) from error
        except (CallFailed, ValueError) as error:
            raise _unavailable("order", str(error)) from error

    async def resolve(self, config: StrategyConfig) -> Instrument:
        """The instrument of the strategy's token. Raises Fault."""
        place = f" on {config.target_chain}" if config.target_chain else ""
        try:
            return await self._market.instrument(config.venue, config.target_token, config.target_chain)
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
