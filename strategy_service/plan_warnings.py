"""What an operator should know before a planned run begins. Pure.

A plan reckons with every BUY filling at once; these say where that is optimistic, what the
account must hold, and what the venue may object to (product section 4, `plan`).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from otopilot import money
from otopilot.money import ONE
from strategy_service.config import UserSettings


def needed(settings: UserSettings, buy: Decimal, quantity: Decimal, rounds: int, room: int | None) -> Decimal:
    """Quote that can be bound at once: every round's BUY, while its SELL rests; at most the room for them."""
    if settings.sell_timeout_seconds is not None:
        bound = min(rounds, 2)  # a SELL that does not fill is re-priced until it does
    else:
        bound = rounds if room is None else min(rounds, room)
    return bound * quantity * buy


def rests(sell: Decimal, price: Decimal) -> bool:
    """Does the SELL stand above the market, so that it waits for the price to come?"""
    return sell > price


class UserFigures(NamedTuple):
    """One user's part as the warnings see it."""

    settings: UserSettings
    sell: Decimal
    rounds: int
    room: int | None
    needed: Decimal
    problem: str


def one_at_a_time(rate: Decimal) -> str:
    """What the guard makes of SELLs at or under BUYs (architecture 6); rate in quote a second."""
    return (
        "SELLs lie at or under other users' BUYs: one order pair at a time passes the guard,"
        f" reckoned with the whole fill timeout for each: {money.text(money.truncate(rate, 2))} USDT a second"
        " over all users"
    )


def warnings(users: list[UserFigures], price: Decimal, free: Mapping[str, Decimal]) -> tuple[str, ...]:
    """A line each; of who cannot trade at all, only why."""
    found: list[str] = []
    for user in users:
        settings, who = user.settings, f"user {user.settings.user_id}"
        if user.problem:
            found.append(f"{who}: {user.problem}")
            continue
        interval = settings.trade_interval_seconds
        if interval < ONE:
            found.append(
                f"{who}: an interval of {money.text(interval)} s is below 1 s: the venue may limit the rate"
            )
        resting = rests(user.sell, price) and settings.sell_timeout_seconds is None
        if resting:
            above = money.truncate(money.percent_of(user.sell - price, price), 2)
            found.append(
                f"{who}: each SELL stands {money.text(above)} % above the market and rests until the price"
                " comes there (sell_timeout_seconds would re-price it): cost and gain count when it fills"
            )
        if resting and user.room is not None and user.rounds > user.room:
            found.append(
                f"{who}: {user.rounds} rounds, but only {user.room} SELLs may rest: then it waits for a fill"
            )
        balance = free.get(settings.user_id)
        if balance is not None and balance < user.needed:
            found.append(
                f"{who}: {money.text(money.truncate(balance, 2))} USDT are free,"
                f" up to {money.text(money.truncate(user.needed, 2))} can be bound at once"
            )
    return tuple(found)
