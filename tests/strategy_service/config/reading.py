"""Reading configuration texts in tests: the smallest good file, and the complaints about bad ones."""

import pytest

from strategy_service.config import ConfigError, TradingConfig, load_bytes

GOOD = """\
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: 100
    user_ids: [1]
"""


def read(text: str | bytes) -> TradingConfig:
    return load_bytes(text.encode() if isinstance(text, str) else text, "t.yaml")


def complaints(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def complaint(text: str | bytes) -> str:
    (only,) = complaints(text)
    return only


def with_line(line: str) -> str:
    return GOOD + f"    {line}\n"
