"""One user's loop: news in, actions out.

Owns one user's State, its timer and its calls. No task of its own and no queue: news comes by
callback, waits are absolute deadlines (performance 2.5). decide() says what follows; a crash
ends this loop alone and is handed to the supervisor through `ended`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from otopilot import log
from otopilot.clock import Clock
from otopilot.money import ZERO
from otopilot.order import LegRole, Order, OrderId, Purpose, RequestId
from otopilot.position import ScopeVolume, User, VolumeScope
from strategy_service import cycle
from strategy_service.clients import CallFailed, OrderClient, PriceKey, Refused, Unreached
from strategy_service.feeds import OrderFeed, OrderListener, PriceFeed
from strategy_service.history import History
from strategy_service.leftovers import Leftovers
from strategy_service.runs import Leftover
from strategy_service.state import (
    Action,
    AskAgain,
    Cancel,
    Condition,
    Denied,
    Find,
    Met,
    Missing,
    Moment,
    News,
    Outcome,
    Pause,
    Phase,
    Place,
    PlaceOto,
    Read,
    RoundEnd,
    Rules,
    Seen,
    Standing,
    State,
    Stop,
    StopMode,
    Unanswered,
    Unread,
    Waiting,
    Woke,
)
from strategy_service.strategy import decide

_log = log.get("loop")

_WISH_AGAIN_SECONDS = 0.25


class World(Protocol):
    """What a loop finds around itself; the supervisor owns it."""

    clock: Clock
    orders: OrderClient
    prices: PriceFeed
    order_feed: OrderFeed
    leftovers: Leftovers
    history: History

    @property
    def owner_epoch(self) -> int:
        """The placing right, to go with every placement."""
        ...

    @property
    def other_owner(self) -> str:
        """Who took that right from this process; empty while nobody did."""
        ...

    def refused(self, owner_epoch: int, no: CallFailed) -> None:
        """A call was refused, perhaps for want of that right or of its scope."""
        ...


class UserLoop(OrderListener):
    """Drives decide() for one user of one strategy."""

    def __init__(
        self,
        rules: Rules,
        scope: VolumeScope,
        world: World,
        *,
        delay: float = 0.0,
        resumed: bool = False,
        met: Outcome | None = None,
        paused: bool = False,
        found: Callable[[int], None] = lambda cycle: None,
    ) -> None:
        self.rules = rules
        self.scope = scope
        self._next: tuple[Rules, VolumeScope] | None = None
        self._world = world
        now = world.clock.monotonic()
        self.state = State(slot=now + delay, began=resumed, met=met, paused=paused)
        self.changed_at = world.clock.now()
        self.blocked_since: float | None = None
        self.last_round: RoundEnd | None = None
        self._found = found  # told once: the journal's newest cycle before this loop's first
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._calls: dict[asyncio.Task[None], None] = {}  # in the order they began
        self._wishes: dict[Cancel, asyncio.Task[None]] = {}  # not taken yet
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Listen, read where the account stands, go."""
        self._key = PriceKey(self.rules.instrument.venue, self.rules.instrument.symbol)
        self._window = self.rules.settings.volatility_window_seconds
        self._world.prices.listen(self._key, self._window, self, self._on_price)
        self._world.order_feed.listen(self.rules.user_id, self)
        self._step(Woke())

    def stop(self, mode: StopMode) -> None:
        """End as that mode says; `ended` tells when."""
        self._step(Stop(mode))

    def nudge(self) -> None:
        """Look again: the target may be reached, the account may trade."""
        self._step(AskAgain())

    def meet(self, outcome: Outcome) -> None:
        """The shared target was reached."""
        self._step(Met(outcome))

    def pause(self, paused: bool) -> None:
        """Place no BUY, or place them again."""
        self._step(Pause(paused))

    def obey(self, rules: Rules, scope: VolumeScope) -> None:
        """Take new rules at the next cycle."""
        self._next = (rules, scope)
        self._step(Woke())

    async def abort(self) -> None:
        """End at once, with every call cut off: the journal knows all there is to know."""
        self._close()
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if not self.ended.done():
            self.ended.cancel()

    # ------------------------------------------------------------------ news

    def on_order(self, order: Order) -> None:
        """An order of this user changed."""
        if order.symbol == self.rules.instrument.symbol and order.venue is self.rules.instrument.venue:
            self._step(Seen(order))

    def on_user(self, user: User) -> None:
        """This user's condition changed."""
        if user.venue is self.rules.instrument.venue:
            self._step(AskAgain())

    def on_ask_again(self) -> None:
        """A denied request may now pass."""
        self._step(AskAgain())

    def _on_price(self) -> None:
        if self.state.waits_for_price:
            self._step(Woke())

    def _on_timer(self) -> None:
        self._timer = None
        self._step(Woke())

    # ------------------------------------------------------------------ decisions

    def _step(self, news: News) -> None:
        if self._closed:
            return
        if self._next is not None and self.state.between_rounds:
            self._take_rules(*self._next)
        before = self.state.waiting
        try:
            decision = decide(self.rules, self.state, self._moment(), news)
        except Exception as error:
            self._crash(error)
            return
        if self.state.found_cycle is None and decision.state.found_cycle is not None:
            self._found(decision.state.found_cycle)
        self.state = decision.state
        for end in decision.rounds:
            self._world.history.add(self.rules.strategy_id, self.rules.user_id, end)
            self.last_round = end
        for action in decision.actions:
            self._perform(action)
        if self.state.phase is Phase.DONE:
            self._finish()
        else:
            self._schedule()
        if self.state.waiting != before:
            self._note(before)

    def _take_rules(self, rules: Rules, scope: VolumeScope) -> None:
        self._next = None
        was, becomes = (float(each.settings.trade_interval_seconds) for each in (self.rules, rules))
        self.state = cycle.by_interval(self.state, was, becomes, self._world.clock.monotonic())
        self.rules, self.scope = rules, scope
        if rules.settings.volatility_window_seconds != self._window:
            self._window = rules.settings.volatility_window_seconds
            self._world.prices.listen(self._key, self._window, self, self._on_price)

    def _note(self, before: Waiting) -> None:
        waiting = self.state.waiting
        if waiting.code != before.code:
            self.changed_at = self._world.clock.now()
        if waiting.condition is Condition.RUNNING:
            self.blocked_since = None
        elif self.blocked_since is None:
            self.blocked_since = self._world.clock.monotonic()

    def _moment(self) -> Moment:
        world = self._world
        resting = self.state.phase is Phase.RESTING
        return Moment(
            now=world.clock.monotonic(),
            at=world.clock.now(),
            quote=world.prices.quote(self._key),
            swing=world.prices.swing(self._key, self._window) if resting else ZERO,
            rise=world.prices.rise(self._key) if resting else ZERO,
            market_up=world.prices.up,
            orders_up=world.order_feed.up,
            other_owner=world.other_owner,
        )

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.state.wake_at is not None:
            seconds = max(0.0, self.state.wake_at - self._world.clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._on_timer)

    # ------------------------------------------------------------------ actions

    def _perform(self, action: Action) -> None:
        match action:
            case Place():
                call = self._place(action)
            case Cancel():
                if action not in self._wishes:
                    self._wishes[action] = self._spawn(self._cancel(action))
                return
            case Find():
                call = self._find(action)
            case Read():
                call = self._read(action)
        self._spawn(call)

    def _spawn(self, call: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(call)
        self._calls[task] = None
        task.add_done_callback(self._called)
        return task

    def _called(self, task: "asyncio.Task[None]") -> None:
        self._calls.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash(error)

    async def _place(self, action: Place) -> None:
        asked, world = action.placement, self._world
        epoch = world.owner_epoch
        try:
            order = await world.orders.place(asked, self.rules, epoch)
        except Refused as no:
            world.refused(epoch, no)
            news: News = Denied(
                request_id=asked.request_id, reason=no.reason, message=no.message, metadata=no.metadata
            )
        except Unreached as unknown:
            news = Unanswered(request_id=asked.request_id, reason=unknown.reason, message=unknown.message)
        except ValueError as garbled:
            news = Unanswered(request_id=asked.request_id, reason="GARBLED", message=str(garbled))
        else:
            news = Seen(order)
        self._step(news)

    async def _cancel(self, action: Cancel) -> None:
        """Until it is taken; what is not when the loop ends is left to others (unsettled)."""
        while True:
            try:
                order = await self._world.orders.cancel(
                    action.order_id, action.role, action.reason, action.reprice_to
                )
            except Refused:
                # The leg has ended already: what became of it is the news.
                self._wishes.pop(action, None)
                await self._find(Find(order_id=action.order_id))
                return
            except (Unreached, ValueError) as unknown:
                _log.info("cancel not answered", order_id=action.order_id, error=str(unknown))
                await self._world.clock.sleep(_WISH_AGAIN_SECONDS)
            else:
                self._wishes.pop(action, None)
                self._step(Seen(order))
                return

    async def _find(self, action: Find) -> None:
        try:
            order = await self._world.orders.find(action.order_id, action.request_id)
        except (CallFailed, ValueError) as error:
            request_id = action.request_id
            if request_id is None:
                return  # asked again a second later
            if isinstance(error, Refused) and error.code == "NOT_FOUND":
                self._step(Missing(request_id))
            else:
                self._step(Unanswered(request_id=request_id, reason="UNAVAILABLE", message=str(error)))
        else:
            self._step(Seen(order))

    async def _read(self, action: Read) -> None:
        orders = self._world.orders
        position, volume = await asyncio.gather(
            orders.position(self.rules), orders.volume(self.scope), return_exceptions=True
        )
        for result in (position, volume):
            if isinstance(result, BaseException) and not isinstance(result, (CallFailed, ValueError)):
                raise result
        if isinstance(position, BaseException) or isinstance(volume, BaseException):
            failed = position if isinstance(position, BaseException) else volume
            self._step(self._unread(failed, volume))
            return
        try:
            recent = tuple(await orders.recent(self.rules)) if action.with_recent else ()
        except (CallFailed, ValueError) as error:
            self._step(self._unread(error, volume))
        else:
            self._step(Standing(position=position, volume=volume, recent=recent))

    def _unread(self, failed: object, volume: object) -> Unread:
        reason = failed.reason if isinstance(failed, CallFailed) else "GARBLED"
        if isinstance(failed, CallFailed):
            self._world.refused(self._world.owner_epoch, failed)
        return Unread(
            reason=reason,
            message=str(failed),
            definite=not isinstance(failed, Unreached),
            volume=volume if isinstance(volume, ScopeVolume) else None,
        )

    # ------------------------------------------------------------------ the end

    def unsettled(self) -> list[Leftover]:
        """Cancel wishes nobody has taken: asked in vain, or of a BUY that may be out."""
        buy, asked = self.state.order, self.state.asked
        everything = self.state.stop in (StopMode.CANCEL, StopMode.FLATTEN)
        last = LegRole.PENDING if everything else LegRole.WORKING  # a BUY may fill: then its SELL goes too
        legs = {(wish.order_id, wish.role): None for wish in self._wishes if wish.reprice_to is None}
        if buy is not None and not buy.working.is_over and (everything or not buy.wishes):
            legs.pop((buy.order_id, LegRole.WORKING), None)
            legs[buy.order_id, last] = None
        who = self.rules.strategy_id, self.rules.user_id
        left = [Leftover(*who, order_id, RequestId(""), role) for order_id, role in legs]
        if isinstance(asked, PlaceOto) or (
            asked is not None and everything and asked.purpose is not Purpose.FLATTEN
        ):
            left.append(Leftover(*who, OrderId(""), asked.request_id, last))
        return left

    def _crash(self, error: BaseException) -> None:
        if self._closed:
            return
        self._close()
        for task in self._calls:
            task.cancel()
        if not self.ended.done():
            self.ended.set_exception(error)

    def _finish(self) -> None:
        self._close()
        for task in self._calls:
            task.cancel()
        if not self.ended.done() and self.state.outcome is not None:
            self.ended.set_result(self.state.outcome)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._world.prices.forget(self._key, self)
        self._world.order_feed.forget(self.rules.user_id, self)
        if self._timer is not None:
            self._timer.cancel()
