"""Alpha's figures about a user: today's volume, and the points it brings (binance-alpha 3.8, 3.10)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from paper_exchange.accounts import free_of, locked_of
from paper_exchange.exchange import Exchange
from paper_exchange.model import Account
from paper_exchange.numbers import ZERO, cut, padded

Row = dict[str, Any]

DAY_MS = 86_400_000
SCORED_DAYS = 15
# What a day's balance must reach for one point more.
BALANCE_STEPS = (100, 1_000, 10_000, 100_000)


class AlphaPoints:
    """Counts BUYs, multiplied as the token's row says."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def user_volume(self, account: Account, _: Row) -> Row:
        """Today's counted BUY volume, as JSON numbers."""
        today = self._exchange.now_ms // DAY_MS
        volumes = self._volumes(account, today).get(today, {})
        rows = [
            {"icon": f"/images/web3-data/public/token/logos/{name}.png", "tokenName": name, "volume": volume}
            for name, volume in volumes.items()
        ]
        return {"totalVolume": sum(volumes.values(), ZERO), "tradeVolumeInfoList": rows}

    def user_score(self, account: Account, _: Row) -> Row:
        """The points of the last days with volume; no balance but today's is known, so it stands for all."""
        today = self._exchange.now_ms // DAY_MS
        first = today - SCORED_DAYS + 1
        balance = self._worth(account)
        by_balance = sum(balance >= step for step in BALANCE_STEPS)
        rows: list[Row] = []
        for day, volumes in sorted(self._volumes(account, first).items(), reverse=True):
            volume = sum(volumes.values(), ZERO)
            by_volume = max(0, int(volume).bit_length() - 1)
            rows.append(
                {
                    "date": datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat(),
                    "scoreTime": None,
                    "totalScore": str(by_balance + by_volume),
                    "balanceScore": str(by_balance),
                    "alphaVolumeScore": str(by_volume),
                    "balanceSnapshot": padded(cut(balance, 8), 8),
                    "alphaVolume": padded(volume, 8),
                }
            )
        return {
            "isPass": None,
            "sumScore": str(sum(int(row["totalScore"]) for row in rows)),
            "startDatetime": first * DAY_MS,
            "endDatetime": today * DAY_MS,
            "list": rows,
            "userSpendList": [],
        }

    def _volumes(self, account: Account, first: int) -> dict[int, dict[str, Decimal]]:
        """Counted BUY volume by day from the first on, and by token."""
        found: dict[int, dict[str, Decimal]] = {}
        for fill in reversed(self._exchange.state.fills_of_account[account.key]):
            day = fill.time_ms // DAY_MS
            if day < first:
                break
            token = self._exchange.state.markets[fill.symbol].instrument.token
            if fill.side == "BUY" and token is not None:
                volumes = found.setdefault(day, {})
                volumes[token.ticker] = volumes.get(token.ticker, ZERO) + fill.quote * token.multiplier
        return found

    def _worth(self, account: Account) -> Decimal:
        """Everything the account has, in quote money."""
        prices = {
            market.instrument.base: market.last_price for market in self._exchange.conditions.listed("alpha")
        }
        return sum(
            (
                (free_of(account, asset) + locked_of(account, asset)) * prices.get(asset, Decimal(1))
                for asset in account.free
            ),
            ZERO,
        )
