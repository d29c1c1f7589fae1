"""Why a user is where it is: every reason code, what it means and what to do about it. Pure.

The codes are the contract's ReasonCode and the table of the guide; tests hold the three
together. Loops and runs speak in these, `otopilot why` is answered from them (product 4).
"""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """A short code; the text beside it tells the case."""

    # It trades, or waits for something that comes by itself.
    POSITION = "position"
    INTERVAL = "interval"
    PRICE = "price"
    PLACING = "placing"
    FILL = "fill"
    CANCEL = "cancel"
    SETTLING_ORDER = "settling_order"
    GUARD = "guard"
    RESERVED = "reserved"
    FINGERPRINT = "fingerprint"
    SLOT = "slot"
    RESIDUAL = "residual"
    REPRICE = "reprice"
    FLATTEN = "flatten"
    ROUND_LONGER = "round_longer"
    # It cannot trade now and goes on by itself.
    STARTING = "starting"
    QUEUED = "queued"
    STALE_PRICE = "stale_price"
    VOLATILITY = "volatility"
    HALTED = "halted"
    MAX_OPEN_SELLS = "max_open_sells"
    FUNDS = "funds"
    FILTER = "filter"
    IN_DOUBT = "in_doubt"
    UNANSWERED = "unanswered"
    SETTLING = "settling"
    HISTORY_UNREAD = "history_unread"
    POSITION_UNREAD = "position_unread"
    COST_INCOMPLETE = "cost_incomplete"
    MARKET_UNREACHABLE = "market_unreachable"
    ORDER_UNREACHABLE = "order_unreachable"
    OVERLOADED = "overloaded"
    JOURNAL = "journal"
    RATE_LIMIT = "rate_limit"
    VENUE_REFUSED = "venue_refused"
    NOT_PLACED = "not_placed"
    OWNER = "owner"
    CRASHED = "crashed"
    # A person is needed.
    PAUSED = "paused"
    OTHER_OWNER = "other_owner"
    NO_CREDENTIAL = "no_credential"
    AUTH_EXPIRED = "auth_expired"
    VERIFICATION_REQUIRED = "verification_required"
    NOT_PERMITTED = "not_permitted"
    AMOUNT_TOO_SMALL = "amount_too_small"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105 - a token to trade
    UNKNOWN_SYMBOL = "unknown_symbol"
    CONTRADICTION = "contradiction"
    SELF_MATCH = "self_match"
    UNKNOWN_OWN_ORDER = "unknown_own_order"
    OTHER_WORLD = "other_world"
    CRASHED_OFTEN = "crashed_often"
    # It does not run.
    IDLE = "idle"
    REACHED = "reached"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    COST_LIMIT = "cost_limit"
    OTHER = "other"


class Advice(NamedTuple):
    """What a code means, and what to do."""

    meaning: str
    what_to_do: str


_NOTHING = "nothing: it goes on by itself"
_LOOK = "look at the account at the venue and at the log, then store the credential again to go on"

ADVICE: dict[Reason, Advice] = {
    Reason.POSITION: Advice("reads where the account stands", _NOTHING),
    Reason.INTERVAL: Advice("the next round starts at its interval", _NOTHING),
    Reason.PRICE: Advice("the first price has not come yet", _NOTHING),
    Reason.PLACING: Advice("an order is being placed", _NOTHING),
    Reason.FILL: Advice("a BUY is on the book and waits for its fill", _NOTHING),
    Reason.CANCEL: Advice("an order is being cancelled", _NOTHING),
    Reason.SETTLING_ORDER: Advice("the last trades of a cancelled order are being read", _NOTHING),
    Reason.GUARD: Advice(
        "another managed order is in the way: the two could match each other",
        "nothing: it goes on when that order moves; with a negative profit expect turns one at a time",
    ),
    Reason.RESERVED: Advice("what is left of the target is reserved by open orders", _NOTHING),
    Reason.FINGERPRINT: Advice(
        "an order that looks the same ended a moment ago, and the venue could not tell them apart",
        "nothing; if it happens often, use more varied amounts",
    ),
    Reason.SLOT: Advice("another BUY of the user on this symbol is not over yet", _NOTHING),
    Reason.RESIDUAL: Advice("base that no SELL covers is being sold", _NOTHING),
    Reason.REPRICE: Advice("a SELL that did not fill goes back at a lower price", _NOTHING),
    Reason.FLATTEN: Advice("the inventory is being sold near the market", _NOTHING),
    Reason.ROUND_LONGER: Advice(
        "a round lasted longer than the interval", "nothing; a longer interval skips fewer rounds"
    ),
    Reason.STARTING: Advice("its token and its target are being set up", _NOTHING),
    Reason.QUEUED: Advice(
        "waits for one of the places of max_concurrent_users",
        "nothing, or raise max_concurrent_users and reload",
    ),
    Reason.STALE_PRICE: Advice(
        "the price was not confirmed recently enough",
        "nothing; if it lasts, look at the market service and the connection to the venue",
    ),
    Reason.VOLATILITY: Advice(
        "the price moved more than max_price_volatility_percentage within its window",
        "nothing: it goes on when the price is calm; or raise the limit and reload",
    ),
    Reason.HALTED: Advice("the venue does not trade the symbol now", "nothing: it goes on with the venue"),
    Reason.MAX_OPEN_SELLS: Advice(
        "as many SELLs rest as may",
        "wait for a fill, set sell_timeout_seconds to re-price them, or stop with --mode flatten",
    ),
    Reason.FUNDS: Advice(
        "the free quote balance does not cover the next BUY",
        "add funds, or lower single_trade_amount_usdt; it goes on when the balance allows",
    ),
    Reason.FILTER: Advice(
        "a filter of the venue refuses the order",
        "read the message: usually single_trade_amount_usdt or the offset has to change",
    ),
    Reason.IN_DOUBT: Advice(
        "an order was sent and its answer was lost: it is looked up until its fate is known",
        "nothing; on live Alpha look at the venue's own screens, then otopilot orders release",
    ),
    Reason.UNANSWERED: Advice(
        "it ended while nobody knew whether a BUY had been placed", "nothing: the BUY is cancelled when found"
    ),
    Reason.SETTLING: Advice("the account's open orders and history are being read", _NOTHING),
    Reason.HISTORY_UNREAD: Advice(
        "the account's history could not be read, so its volume is not known and nothing is placed",
        "nothing; if it lasts, check the credential and the venue",
    ),
    Reason.POSITION_UNREAD: Advice(
        "the order service could not say where the account stands", "read the message and its log"
    ),
    Reason.COST_INCOMPLETE: Advice(
        "a fee could not be valued, so the cost limit cannot be checked",
        "wait for a price of that asset, or take the cost limit out and reload",
    ),
    Reason.MARKET_UNREACHABLE: Advice("the market service cannot be reached", "start it; trading goes on"),
    Reason.ORDER_UNREACHABLE: Advice("the order service cannot be reached", "start it; trading goes on"),
    Reason.OVERLOADED: Advice("the order service has more to do than it can", _NOTHING),
    Reason.JOURNAL: Advice(
        "the order journal could not be written, so nothing new is placed",
        "free disk space or repair the disk, see the order service's log",
    ),
    Reason.RATE_LIMIT: Advice(
        "the venue's request limit is used up, or it closed its door for a while",
        "nothing; if it happens often, use longer intervals or fewer users",
    ),
    Reason.VENUE_REFUSED: Advice(
        "the venue refused the last order",
        "read the message; it is tried again with growing pauses",
    ),
    Reason.NOT_PLACED: Advice("the last order never left this machine", _NOTHING),
    Reason.OWNER: Advice("the placing right or the target is being written again", _NOTHING),
    Reason.CRASHED: Advice(
        "its loop ended by an error and starts again shortly", "nothing; keep the log for a report"
    ),
    Reason.PAUSED: Advice("somebody paused it", "otopilot resume"),
    Reason.OTHER_OWNER: Advice(
        "another strategy service or executor places for these accounts",
        "stop that one, then start the strategy here again",
    ),
    Reason.NO_CREDENTIAL: Advice(
        "no credential is stored for this user and venue", "otopilot users add; on paper with --paper"
    ),
    Reason.AUTH_EXPIRED: Advice(
        "the venue does not accept the credential any more", "otopilot users add with a fresh one"
    ),
    Reason.VERIFICATION_REQUIRED: Advice(
        "the venue asks this account for a verification",
        "do it on the venue's own page, then store a fresh credential",
    ),
    Reason.NOT_PERMITTED: Advice(
        "the key may not trade, or not from this address",
        "change its permissions at the venue, then otopilot users add; seldom, it is tried again by itself",
    ),
    Reason.AMOUNT_TOO_SMALL: Advice(
        "one round is below the smallest order the venue takes",
        "raise single_trade_amount_usdt and reload",
    ),
    Reason.UNKNOWN_TOKEN: Advice(
        "the venue has no such token", "check target_token and target_chain, then reload"
    ),
    Reason.UNKNOWN_SYMBOL: Advice(
        "the venue does not know the symbol any more", "check target_token, then reload"
    ),
    Reason.CONTRADICTION: Advice("the venue told two stories of one order", _LOOK),
    Reason.SELF_MATCH: Advice("two managed orders may have met: everything of these accounts stands", _LOOK),
    Reason.UNKNOWN_OWN_ORDER: Advice(
        "an order with our mark is open that the journal does not know, as after a restored backup", _LOOK
    ),
    Reason.OTHER_WORLD: Advice(
        "the exchange is another world than the journal's: another paper one, a test venue, the real one",
        "start with the data directory that belongs to it, or with --new-world",
    ),
    Reason.CRASHED_OFTEN: Advice(
        "its loop ended by an error five times in a row",
        "read the log, report it, then otopilot start",
    ),
    Reason.IDLE: Advice("it was not asked to run", "otopilot start"),
    Reason.REACHED: Advice("the target is reached", "nothing"),
    Reason.SKIPPED: Advice("the history had met the target before it began", "nothing"),
    Reason.STOPPED: Advice("somebody stopped it", "otopilot start to go on"),
    Reason.COST_LIMIT: Advice(
        "its realised cost came to its limit",
        "raise max_cost_usdt or max_cost_per_1000, reload, then otopilot start",
    ),
    Reason.OTHER: Advice("something else, see the message", "read the message"),
}

# What other parts call the same thing.
_ALSO = {
    "user_settling": Reason.SETTLING,
    "unread": Reason.SETTLING,
    "unknown_scope": Reason.OWNER,
    "stale_owner": Reason.OWNER,
    "stale_revision": Reason.OWNER,
    "unknown_user": Reason.NO_CREDENTIAL,
    "ended": Reason.STOPPED,
}
_BY_NAME = {reason.value: reason for reason in Reason}


def reason_of(code: str) -> Reason:
    """The reason of a code that another part gave; OTHER for one that is not known here."""
    name = code.lower()
    return _BY_NAME.get(name) or _ALSO.get(name, Reason.OTHER)


class RoundResult(StrEnum):
    """What a round came to."""

    FILLED = "filled"
    PARTIAL = "partial"
    MISSED = "missed"
    PRICE_FELL = "price_fell"
    GUARD = "guard"
    REFUSED = "refused"
    NOT_PLACED = "not_placed"
    ENDED_BY_VENUE = "ended_by_venue"
    ADOPTED = "adopted"
    PAUSED = "paused"
    STOPPED = "stopped"
    SKIPPED = "skipped"
