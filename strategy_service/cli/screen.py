"""The live screen of `run` and `status --watch`: a bar per strategy and user.

On a terminal it redraws in place on stderr; without one it writes a plain line every five
seconds and at every change of a user's state. It is told news and knows no service.
"""

import sys
import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from protos import strategy_pb2 as pb
from strategy_service.cli.amounts import decimal, duration, fixed, short
from strategy_service.cli.status import at_least, cost, inventory, state_word

PLAIN_SECONDS = 5.0
DRAW_SECONDS = 0.25
WIDEST = 140
WIDE = 120  # columns; below, bars and words are cut short
_CALM = (pb.USER_RUN_STATE_RUNNING, pb.USER_RUN_STATE_REACHED)
STATE_STYLE = {
    pb.USER_RUN_STATE_RUNNING: "green",
    pb.USER_RUN_STATE_REACHED: "bold green",
    pb.USER_RUN_STATE_SKIPPED: "green",
    pb.USER_RUN_STATE_BLOCKED: "yellow",
    pb.USER_RUN_STATE_QUEUED: "yellow",
    pb.USER_RUN_STATE_PAUSED: "yellow",
    pb.USER_RUN_STATE_NEEDS_PERSON: "bold red",
    pb.USER_RUN_STATE_COST_LIMIT: "red",
}


class Screen:
    """Holds the newest status of each strategy and shows it. Use it as a context manager."""

    def __init__(self, mode: str, place: str, console: Console | None = None) -> None:
        self.mode = mode.upper()
        self.place = place
        self.note = ""  # what the command itself is doing
        self.strategies: dict[str, pb.StrategyStatus] = {}
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._states: dict[tuple[str, str], tuple[int, str]] = {}
        self._said_at = float("-inf")
        self._said_note = ""
        self._drawn_at = float("-inf")

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self.render(), refresh=True)
            self._live.stop()
            self._live = None

    def update(self, news: Iterable[pb.StrategyStatus], note: str | None = None) -> None:
        """Take in what changed and show it."""
        for each in news:
            self.strategies[each.strategy_id] = each
        changed = note is not None and note != self.note
        if note is not None:
            self.note = note
        if self._live is None:
            self._plain()
        elif changed or time.monotonic() - self._drawn_at >= DRAW_SECONDS:
            self._drawn_at = time.monotonic()
            self._live.update(self.render(), refresh=True)

    # ------------------------------------------------------------------ terminal

    def render(self) -> RenderableType:
        """The whole screen."""
        return Group(self._header(), *(self._strategy(each) for each in self._shown()))

    def _shown(self) -> list[pb.StrategyStatus]:
        """Those that run or ran; all of them when none did."""
        every = list(self.strategies.values())
        ran = [each for each in every if each.is_running or each.HasField("started_at")]
        return ran or every

    def _header(self) -> Text:
        header = Text()
        header.append(
            f" {self.mode} ", style="bold white on red" if self.mode == "LIVE" else "bold black on green"
        )
        header.append(f" otopilot  {self.place}  ")
        header.append(self.note, style="dim")
        return header

    def _strategy(self, each: pb.StrategyStatus) -> RenderableType:
        name = Text()
        name.append(f"\n{each.strategy_id}", style="bold")
        name.append(f"  {each.strategy_name}  " if each.strategy_name != each.strategy_id else "  ")
        name.append(_price(each))
        bar = _bar(each.total_volume, _whole_target(each), 40 if self._wide else 24)
        volume = f"{at_least(each.total_complete)}{fixed(each.total_volume)} of {_target(each)} USDT"
        pace = Text(
            f"{short(each.volume_per_minute)}/min  ETA {duration(each.eta_seconds)}"
            f"  cost per 1,000 USDT {short(each.cost_per_1000, 4)}"
        )
        line = Table.grid(padding=(0, 2))
        line.add_row(bar, volume, Text(each.progress, style="bold"))
        return Group(name, line, pace, self._users(each), *_reasons(each))

    @property
    def _wide(self) -> bool:
        return self._console.width >= WIDE

    def _users(self, each: pb.StrategyStatus) -> Table:
        table = Table(
            box=None,
            pad_edge=False,
            header_style="dim",
            padding=(0, 2, 0, 0),
            expand=True,
            # Room for the terminal's own ^C: without it the line wraps, and one is drawn twice.
            width=min(self._console.width - 2, WIDEST),
        )
        sells = "open sells" if self._wide else "sells"
        columns = ("user", "", "volume", "state", "waits for", sells, "inventory", "cost")
        for column in columns if self._wide else (*columns[:6], "cost"):
            right = column in ("volume", sells)
            table.add_column(
                column,
                justify="right" if right else "left",
                no_wrap=True,
                overflow="ellipsis",
                ratio=1 if column == "waits for" else None,
            )
        for user in each.users:
            table.add_row(
                user.user_id,
                _bar(user.volume, user.target or each.target_volume, 16 if self._wide else 6),
                at_least(user.volume_complete) + fixed(user.volume),
                Text(state_word(user), style=STATE_STYLE.get(user.state, "")),
                Text(user.reason or user.reason_code),
                str(user.open_sells),
                *((inventory(user),) if self._wide else ()),
                cost(user),
            )
        return table

    # ------------------------------------------------------------------ no terminal

    def _plain(self) -> None:
        changes = self._state_changes()
        now = time.monotonic()
        due = now - self._said_at >= PLAIN_SECONDS
        if self.note and self.note != self._said_note:
            self._said_note = self.note
            self._line(self.note)
        for change in changes:
            self._line(change)
        if not due or not self._shown():
            return
        self._said_at = now
        for each in self._shown():
            self._line(
                f"{each.strategy_id}: {at_least(each.total_complete)}{fixed(each.total_volume)} of "
                f"{_target(each)} USDT, {each.progress}, {short(each.volume_per_minute)}/min, "
                f"ETA {duration(each.eta_seconds)}, cost per 1,000 USDT {short(each.cost_per_1000, 4)}"
                f", {_price(each)}"
            )

    def _state_changes(self) -> list[str]:
        changes = []
        for each in self._shown():
            for user in each.users:
                key = (each.strategy_id, user.user_id)
                # What a running user waits for changes all the time; its state does not.
                calm = user.state == pb.USER_RUN_STATE_RUNNING
                state = (user.state, "" if calm else user.reason_code)
                if self._states.get(key) != state:
                    self._states[key] = state
                    reason = "" if calm else user.reason or user.reason_code
                    changes.append(
                        f"{key[0]}, user {key[1]}: {state_word(user)}" + (f": {reason}" if reason else "")
                    )
        return changes

    def _line(self, text: str) -> None:
        print(
            f"{self.mode} {text}", file=sys.stderr if self._console.stderr else self._console.file, flush=True
        )


def _reasons(each: pb.StrategyStatus) -> list[Text]:
    """Whole, on lines of their own: why a user does not trade. The table has room for the rest."""
    return [
        Text(f"user {user.user_id}: {user.reason}", style=STATE_STYLE.get(user.state, ""))
        for user in each.users
        if user.state not in _CALM and len(user.reason) > len(state_word(user))
    ]


def _whole_target(each: pb.StrategyStatus) -> str:
    """per_user targets are each user's own: the bar is over all of them."""
    if each.target_scope != "per_user" or not each.users:
        return each.target_volume
    return str(decimal(each.target_volume) * len(each.users))


def _target(each: pb.StrategyStatus) -> str:
    if each.target_scope == "per_user":
        return f"{len(each.users)} x {short(each.target_volume)}"
    return short(each.target_volume)


def _price(each: pb.StrategyStatus) -> str:
    if not each.last_price:
        return f"{each.symbol or each.token}: no price yet" if each.is_running else each.symbol
    age = each.price_age_ms // 100
    return f"{each.symbol} {short(each.last_price, 8)} ({age // 10}.{age % 10} s old)"


def _bar(part: str, whole: str, width: int) -> ProgressBar:
    """How much of the whole; a pixel count, the only place where an amount's digits do not matter."""
    total = decimal(whole)
    done = min(decimal(part), total)
    permille = int(done * 1000 / total) if total else 0
    return ProgressBar(total=1000, completed=permille, width=width)
