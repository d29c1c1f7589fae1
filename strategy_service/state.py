"""What one user's loop remembers, may learn and may do. Pure data.

strategy.py decides over these; loop.py carries news in and actions out. Nothing here outlives
the process: whatever a loop needs to go on is in the order journal or in the run table
(architecture 11). Amounts are Decimal, quote unless said otherwise; `float` is seconds.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from otopilot.instrument import Instrument
from otopilot.money import ZERO
from otopilot.order import LegRole, Order, OrderId, Purpose, RequestId, ScopeId, StrategyId, UserId
from otopilot.position import Position, ScopeVolume
from otopilot.quote import Quote
from strategy_service.config import UserSettings
from strategy_service.reasons import Reason, RoundResult


class StopMode(StrEnum):
    """How a loop is ended (product 3)."""

    DRAIN = "drain"
    CANCEL = "cancel"
    FLATTEN = "flatten"

    @property
    def strength(self) -> int:
        """A weaker stop never takes back a stronger one."""
        return list(StopMode).index(self)


class Outcome(StrEnum):
    """How a loop ended."""

    REACHED = "reached"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    COST_LIMIT = "cost_limit"


class Condition(StrEnum):
    """Does it trade, will it by itself, or must a person act?"""

    RUNNING = "running"
    BLOCKED = "blocked"
    NEEDS_PERSON = "needs_person"
    PAUSED = "paused"


class Waiting(msgspec.Struct, frozen=True):
    """What a loop waits for at this moment: a code and the whole story.

    `blocking` is the price of the order in the way when the guard said no.
    """

    code: Reason
    text: str
    condition: Condition = Condition.RUNNING
    blocking: Decimal | None = None


def waits_for_right(other_owner: str) -> str:
    """What an operator is told when another owner places for these accounts."""
    return (
        f"another strategy service or executor ({other_owner}) took the placing right;"
        " start again to take it back"
    )


class Phase(StrEnum):
    """Where a loop stands in its round."""

    RESTING = "resting"  # no BUY is in flight: between rounds or tries
    PLACING = "placing"  # a placement is asked for and not answered for certain
    WORKING = "working"  # a BUY exists, as far as anybody knows
    DONE = "done"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What one loop obeys during a round: its settings and what they apply to."""

    user_id: UserId
    strategy_id: StrategyId
    scope_id: ScopeId
    instrument: Instrument
    settings: UserSettings
    sells_count: bool = False  # volume_side both


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The world outside when news comes. `swing` is (max - min) / min over the window, in percent."""

    now: float  # monotonic seconds
    at: datetime
    quote: Quote | None = None
    swing: Decimal = ZERO
    rise: Decimal = ZERO  # of the last moments, in percent
    market_up: bool = True
    orders_up: bool = True  # order news comes
    other_owner: str = ""  # who took the placing right from this process


class PlaceOto(msgspec.Struct, frozen=True, kw_only=True):
    """A BUY and the SELL that follows it. Prices in quote per base, quantity in base."""

    request_id: RequestId
    cycle: int
    try_number: int
    step: int
    quantity: Decimal
    working_price: Decimal
    min_working_price: Decimal
    pending_price: Decimal
    reference: Quote


class PlaceSell(msgspec.Struct, frozen=True, kw_only=True):
    """A single limit SELL. A price from the market names its quote."""

    request_id: RequestId
    cycle: int
    try_number: int
    step: int
    purpose: Purpose
    quantity: Decimal
    price: Decimal
    reference: Quote | None = None


Placement = PlaceOto | PlaceSell


# ------------------------------------------------------------------ actions


class Place(msgspec.Struct, frozen=True):
    """Ask for a placement; answered by Seen, Denied or Unanswered."""

    placement: Placement


class Cancel(msgspec.Struct, frozen=True):
    """Wish a leg gone; answered by Seen or nothing (asked again until the order says so)."""

    order_id: OrderId
    role: LegRole
    reason: str
    reprice_to: Decimal | None = None  # the SELL will be put back at this price


class Find(msgspec.Struct, frozen=True):
    """Read an order by our id or by the request's; answered by Seen, Missing or nothing."""

    order_id: OrderId | None = None
    request_id: RequestId | None = None


class Read(msgspec.Struct, frozen=True):
    """Read position and volume, perhaps the newest orders; answered by Standing or Unread."""

    with_recent: bool = False


Action = Place | Cancel | Find | Read


# ------------------------------------------------------------------ news


class Woke(msgspec.Struct, frozen=True):
    """It is time, or a price came that was waited for."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the account and its volume scope stand."""

    position: Position
    volume: ScopeVolume
    recent: tuple[Order, ...] = ()  # the newest orders of the strategy, when they were asked for


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """Position or volume could not be had. `definite`: the service said so, it was reached."""

    reason: str
    message: str
    definite: bool
    volume: ScopeVolume | None = None


class Seen(msgspec.Struct, frozen=True):
    """An order as it is now: an answer, a push or a query."""

    order: Order


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A definite no to a placement: no order exists and the request id is unused."""

    request_id: RequestId
    reason: str
    message: str
    metadata: Mapping[str, str] = {}


class Unanswered(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody knows whether a placement happened: the same id is asked again."""

    request_id: RequestId
    reason: str
    message: str


class Missing(msgspec.Struct, frozen=True):
    """The journal has no order of that request."""

    request_id: RequestId


class AskAgain(msgspec.Struct, frozen=True):
    """Something changed for this user: a denied request may pass, a stopped account may trade."""


class Met(msgspec.Struct, frozen=True):
    """The shared target was reached once in this run, which stays finished whatever the day does."""

    outcome: Outcome  # of whoever saw it


class Pause(msgspec.Struct, frozen=True):
    """Place no BUY, or place them again."""

    paused: bool


class Stop(msgspec.Struct, frozen=True):
    """End the loop."""

    mode: StopMode


News = Woke | Standing | Unread | Seen | Denied | Unanswered | Missing | AskAgain | Met | Pause | Stop


# ------------------------------------------------------------------ memory


class Repricing(msgspec.Struct, frozen=True, kw_only=True):
    """A SELL that is taken off the book to go back at a lower price."""

    order: Order
    price: Decimal
    step: int
    wished_at: float


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One loop's memory between two pieces of news."""

    phase: Phase = Phase.RESTING
    waiting: Waiting = Waiting(Reason.POSITION, "reads where the account stands")
    wake_at: float | None = None

    standing: Standing | None = None  # the last one read
    fresh: bool = False  # nothing happened since it was read
    reading: bool = False  # a Read is under way
    read_at: float = 0.0
    recovered: bool = False  # the first reading has been acted upon
    began: bool = False  # it had, or has had, something to do

    cycle: int = 0
    found_cycle: int | None = None  # the journal's newest when it began
    round_open: bool = False
    round_began: datetime | None = None
    held: Reason | None = None  # what last kept a round from beginning or going on
    free: bool = False  # the round before was over when the next one's place came
    late: float | None = None  # seconds after its place that the present round began, where it was free
    skipped: int = 0  # intervals without a round before the present one
    skipped_reason: Reason | None = None
    slot: float = 0.0  # the round's place on the grid of intervals
    amount: Decimal = ZERO  # of the round
    spent: Decimal = ZERO  # of it, by fills
    try_number: int = 0  # of the next placement
    step: int = 0
    missed: Decimal | None = None  # applied price of the BUY that missed its timeout
    smallest: Decimal | None = None  # base of the smallest order, as the last denial told it
    strikes: int = 0  # placements in a row that came to nothing without having been on the book

    asked: Placement | None = None
    calling: bool = False  # its answer is awaited
    order: Order | None = None  # the BUY of the round
    unread: Order | None = None  # with a SELL on the book, until the account is read again
    deadline: float | None = None  # of its fill
    asked_cancel_at: float | None = None
    looked_at: float = 0.0  # when the order was last heard of or asked for
    not_before: float = 0.0  # no new request earlier
    unread_since: float | None = None  # the account's history is not read yet
    sell_not_before: float = 0.0  # no new residual earlier
    sell_denials: int = 0  # of the residual in a row, by the guard
    repricing: Repricing | None = None
    wished: frozenset[tuple[OrderId, LegRole]] = frozenset()

    met: Outcome | None = None  # the shared target was reached, as another user of the run saw
    paused: bool = False
    ending: Outcome | None = None
    stop: StopMode | None = None
    stop_by: float = 0.0
    flattened: Order | None = None
    outcome: Outcome | None = None
    left_open: tuple[OrderId, ...] = ()

    cycles: int = 0
    guard_waits: int = 0
    guarded_since: float | None = None  # the present wait for the guard
    reserved_since: float | None = None  # the present wait for what others reserve
    last_round: RoundResult | None = None
    told: "Told | None" = None  # the newest round that is over

    @property
    def waits_for_price(self) -> bool:
        """A new price may change its mind."""
        return self.waiting.code in PRICE_WAITS

    @property
    def between_rounds(self) -> bool:
        """New rules may come in now (product 2: at the next cycle)."""
        untouched = not self.round_open or (self.try_number == 0 and not self.spent)
        # A round that waits for a halted symbol waits for the very rules that come in.
        return self.phase is Phase.RESTING and (untouched or self.waiting.code == Reason.HALTED)


PRICE_WAITS = frozenset({Reason.PRICE, Reason.STALE_PRICE})


class RoundEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A round that is over: what it came to and bought, in quote.

    `skipped` intervals passed before it without a round, for that reason; with SKIPPED no round
    followed them. `late` is the seconds from its place on the grid of intervals to its start; none
    where the round before, the guard or anything else than this machine made it wait.
    """

    cycle: int
    result: RoundResult
    started_at: datetime
    ended_at: datetime
    bought: Decimal = ZERO
    tries: int = 0
    skipped: int = 0
    skipped_reason: Reason | None = None
    late: float | None = None
    amends: bool = False  # it was told before; its trades have come since


class Told(msgspec.Struct, frozen=True):
    """A round as it was told, while trades of its last BUY may still come: Alpha tells a fill before them."""

    end: RoundEnd
    order_id: OrderId
    before: Decimal  # bought by its earlier tries, in quote


class Decision(msgspec.Struct, frozen=True):
    """What follows from a piece of news."""

    state: State
    actions: tuple[Action, ...] = ()
    rounds: tuple[RoundEnd, ...] = ()
