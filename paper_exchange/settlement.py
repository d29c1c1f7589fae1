"""The money of an order: what it locks, and what one side of a match moves.

Acts on State only. Funds are locked before an order is accepted, so a settlement cannot fail.
"""

from decimal import Decimal

from paper_exchange.accounts import credit, free_of, lock, spend_locked, unlock
from paper_exchange.config import SpotSettings
from paper_exchange.market import Market
from paper_exchange.model import Account, Fill, Order, Status
from paper_exchange.numbers import cut, half_up, product
from paper_exchange.order_lists import reserve_for_pending
from paper_exchange.state import State
from paper_exchange.tape import Match

BNB = "BNB"
BNB_SHARE = Decimal("0.75")  # of a fee that is paid in it


class Settlement:
    """Moves balances and writes fills down."""

    def __init__(self, state: State) -> None:
        self._state = state

    def funds_of(self, order: Order) -> tuple[str, Decimal]:
        """The asset an order locks, and how much for what is still open of it."""
        instrument = self._state.markets[order.symbol].instrument
        if order.side == "SELL":
            return instrument.base, order.open_quantity
        needed = cut(product(order.price, order.open_quantity), instrument.quote_precision)
        if order.quote_wanted:
            needed = min(needed, order.quote_wanted - order.quote)
        return instrument.quote, needed

    def lock_funds(self, order: Order) -> None:
        """Lock what the order needs, or raise Refused with nothing changed."""
        asset, needed = self.funds_of(order)
        account = self._state.accounts.owner(order.account)
        lock(account, asset, needed)
        order.locked += needed
        self._state.touch_account(account, asset)

    def settle(
        self, market: Market, order: Order, match: Match, *, maker: bool, counter: Order | None
    ) -> Fill:
        """Move the money of one side; the fee comes out of what the trade delivers."""
        instrument, settings = market.instrument, self._state.settings(order.symbol)
        account = self._state.accounts.owner(order.account)
        order.executed += match.quantity
        order.quote += match.quote
        paid_asset, still_needed = self.funds_of(order)
        if order.side == "BUY":
            paid, received, rate = match.quote, match.quantity, settings.buyer_fee
            received_asset, places = instrument.base, instrument.base_precision
        else:
            paid, received, rate = match.quantity, match.quote, settings.seller_fee
            received_asset, places = instrument.quote, instrument.quote_precision
        spend_locked(account, paid_asset, paid)
        unlock(account, paid_asset, order.locked - paid - still_needed)
        order.locked = still_needed
        fee_asset, fee = received_asset, min(half_up(product(received, rate), places), received)
        if (in_bnb := self._fee_in_bnb(market, account, product(match.quote, rate))) is not None:
            credit(account, BNB, -in_bnb)
            fee_asset, fee, kept = BNB, in_bnb, received
        else:
            kept = received - fee
            order.fee += fee  # of what it receives
        credit(account, received_asset, kept)
        order.status = Status.FILLED if order.open_quantity == 0 else Status.PARTIALLY_FILLED
        self._reserve(order, received_asset, kept)
        fill = self._record_fill(order, match, fee, fee_asset, maker=maker, counter=counter)
        self._state.touch_account(account, paid_asset, received_asset, fee_asset)
        self._state.touch_order(order)
        self._state.announce_order(order, "TRADE", fill)
        return fill

    def _fee_in_bnb(self, market: Market, account: Account, worth: Decimal) -> Decimal | None:
        """A fee of so much quote as BNB, with the discount; none where it is taken from what is received."""
        settings, instrument = self._state.settings(market.instrument.symbol), market.instrument
        bnb = self._state.markets.get(BNB + instrument.quote)
        discounted = isinstance(settings, SpotSettings) and settings.fees_in_bnb
        if not discounted or bnb is None or BNB in (instrument.base, instrument.quote):
            return None
        fee = half_up(worth * BNB_SHARE / bnb.last_price, bnb.instrument.base_precision)
        return fee if fee <= free_of(account, BNB) else None

    def _reserve(self, order: Order, asset: str, received: Decimal) -> None:
        if order.list_id is None or order.leg != "working":
            return
        order_list = self._state.lists[order.list_id]
        kept = reserve_for_pending(order_list, received)
        if kept:
            lock(self._state.accounts.owner(order.account), asset, kept)
            order_list.reserved += kept
            self._state.touch_list(order_list)

    def _record_fill(
        self, order: Order, match: Match, fee: Decimal, fee_asset: str, *, maker: bool, counter: Order | None
    ) -> Fill:
        world = self._state.world
        world.fill_id += 1
        fill = Fill(
            fill_id=world.fill_id,
            match_id=match.match_id,
            sweep_id=world.sweep_id,
            order_id=order.order_id,
            account=order.account,
            symbol=order.symbol,
            side=order.side,
            price=match.price,
            quantity=match.quantity,
            quote=match.quote,
            fee=fee,
            fee_asset=fee_asset,
            maker=maker,
            last=order.status is Status.FILLED,
            time_ms=self._state.now_ms,
            counter_order_id=counter.order_id if counter else None,
        )
        self._state.add_fill(fill)
        return fill
