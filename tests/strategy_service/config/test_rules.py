"""Required keys, ranges, and the rules that bind several values."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from strategy_service.config import VolumeWindow
from strategy_service.config.keys import PER_USER
from tests.strategy_service.config.reading import GOOD, complaint, complaints, read, with_line


def since(moment: datetime) -> VolumeWindow:
    return VolumeWindow("since", moment)


def test_each_required_key_that_is_missing_is_named() -> None:
    assert complaints("strategies: [{}]") == [
        "t.yaml:1:14  strategies[0]: strategy_id is missing",
        "t.yaml:1:14  strategies[0]: target_token is missing",
        "t.yaml:1:14  strategies[0]: target_volume is missing",
        "t.yaml:1:14  strategies[0]: user_ids is missing",
        "t.yaml:1:14  strategies[0]: venue is missing: write venue: spot, or target_chain for a token on"
        " alpha",
    ]


def test_a_chain_makes_it_alpha_and_no_chain_needs_a_venue() -> None:
    assert read(GOOD).strategy("koge").venue == "alpha"
    spot = read(GOOD.replace("target_chain: BSC", "venue: spot")).strategy("koge")
    assert (spot.venue, spot.target_chain) == ("spot", None)
    assert "venue is missing" in complaint(GOOD.replace("    target_chain: BSC\n", ""))
    assert "target_chain is missing" in complaint(GOOD.replace("target_chain: BSC", "venue: alpha"))


def test_a_chain_on_spot_is_named_and_not_used() -> None:
    config = read(with_line("venue: spot"))
    assert config.notices == (
        "t.yaml:4:19  strategies[0].target_chain: spot has no chains: this value is not used",
    )
    assert config.strategies[0].target_chain is None


def test_a_chain_against_the_global_venue_must_be_settled_in_the_strategy() -> None:
    text = "global_settings: {default_venue: spot}\n" + GOOD
    assert "write venue in this strategy" in complaint(text)
    assert read(text + "    venue: alpha\n").strategies[0].venue == "alpha"


def test_names_default_to_ids_and_strategies_to_enabled() -> None:
    strategy = read(GOOD).strategy("koge")
    assert (strategy.strategy_name, strategy.enabled) == ("koge", True)


@pytest.mark.parametrize(
    ("line", "window"),
    [
        ("volume_window: day", VolumeWindow("day")),
        ("volume_window: all", VolumeWindow("all")),
        ("volume_window: {since: 2026-01-31T08:00:00+08:00}", since(datetime(2026, 1, 31, tzinfo=UTC))),
        (
            'volume_window: {since: "2026-01-31 00:00:00.5Z"}',
            since(datetime(2026, 1, 31, 0, 0, 0, 500_000, UTC)),
        ),
    ],
)
def test_a_volume_window_is_a_day_everything_or_a_moment_in_utc(line: str, window: VolumeWindow) -> None:
    assert read(with_line(line)).strategies[0].volume_window == window


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("week", "must be day, all, or {since: "),
        ("{since: 2026-01-31T00:00:00}", "lacks its time zone"),
        ("{since: 2026-01-31}", "is no timestamp"),
        ("{since: 2026-02-31T00:00:00Z}", "is no date and time of the calendar"),
        ("{since: 0001-01-01T00:00:00+08:00}", "is out of range"),
        ("{since: [1]}", "a list stands where a timestamp is wanted"),
        ("{since: }", "the value is missing"),
        ("{from: 2026-01-31T00:00:00Z}", "must be day, all, or {since: "),
        ("[day]", "must be day, all, or {since: "),
    ],
)
def test_any_other_volume_window_is_refused(written: str, said: str) -> None:
    assert said in complaint(with_line(f"volume_window: {written}"))


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("single_trade_amount_usdt", "0"),
        ("single_trade_amount_usdt", "-30"),
        ("trade_interval_seconds", "0"),
        ("trade_interval_seconds", "86401"),
        ("buy_offset_percentage", "50.1"),
        ("sell_profit_percentage", "-50.01"),
        ("fill_timeout_seconds", "0"),
        ("slippage_step_percentage", "-0.1"),
        ("max_slippage_steps", "-1"),
        ("max_slippage_steps", "101"),
        ("sell_timeout_seconds", "0"),
        ("max_sell_discount_percentage", "51"),
        ("max_open_sells", "0"),
        ("max_quote_age_seconds", "61"),
        ("max_price_volatility_percentage", "0"),
        ("volatility_window_seconds", "0"),
        ("max_cost_usdt", "0"),
        ("max_cost_per_1000", "-1"),
    ],
)
def test_a_value_out_of_its_sane_range_is_refused_in_every_layer(key: str, written: str) -> None:
    assert "is out of range" in complaint(with_line(f"{key}: {written}"))
    assert "is out of range" in complaint(f"global_settings: {{default_{key}: {written}}}\n" + GOOD)
    override = f"user_overrides: [{{user_id: 1, strategies: {{koge: {{{key}: {written}}}}}}}]\n"
    assert "is out of range" in complaint(GOOD + override)


def test_every_per_user_key_has_a_range_test() -> None:
    marks = test_a_value_out_of_its_sane_range_is_refused_in_every_layer.pytestmark  # type: ignore[attr-defined]
    assert {key for key, _ in marks[0].args[1]} == {key.name for key in PER_USER}


def test_counts_are_whole_numbers() -> None:
    assert "must be a whole number" in complaint(with_line("max_slippage_steps: 2.0"))
    assert "must be a whole number" in complaint("global_settings: {max_concurrent_users: 1.5}\n" + GOOD)


@pytest.mark.parametrize(
    "key", ["sell_timeout_seconds", "max_open_sells", "max_cost_usdt", "max_cost_per_1000"]
)
@pytest.mark.parametrize("word", ["none", "null", "~"])
def test_a_limit_can_be_taken_away_again(key: str, word: str) -> None:
    text = f"global_settings: {{default_{key}: 7}}\n" + with_line(f"{key}: {word}")
    assert getattr(read(text).strategies[0].users[0], key) is None
    assert "write none for no limit" in complaint(with_line(f"{key}:"))


def test_none_is_no_value_for_what_must_be_there() -> None:
    assert "is no plain decimal number" in complaint(with_line("trade_interval_seconds: none"))


def test_the_last_re_try_may_not_bid_more_than_half_above_the_price() -> None:
    line = "max_slippage_steps: 100\n    slippage_step_percentage: 0.5"
    assert complaint(with_line(line)) == (
        "t.yaml:8:31  strategies[0].slippage_step_percentage: the last re-try would bid 50.5 % above the"
        " price (offset + steps x step): at most 50 %"
    )


def test_an_interval_below_one_second_is_allowed_and_named_once() -> None:
    config = read("global_settings: {default_trade_interval_seconds: 0.5}\n" + GOOD)
    assert config.strategies[0].users[0].trade_interval_seconds == Decimal("0.5")
    assert config.notices == (
        "t.yaml:1:51  global_settings.default_trade_interval_seconds: 0.5 s is below 1 s: the venue may limit"
        " the rate",
    )


def test_the_volatility_limit_has_two_spellings_and_takes_one_of_them() -> None:
    for spelling in ("max_price_volatility_percentage", "default_max_price_volatility_percentage"):
        config = read(f"global_settings: {{{spelling}: 7}}\n" + GOOD)
        assert config.strategies[0].users[0].max_price_volatility_percentage == 7
    both = "{max_price_volatility_percentage: 7, default_max_price_volatility_percentage: 7}"
    assert "with the other spelling" in complaint(f"global_settings: {both}\n" + GOOD)


@pytest.mark.parametrize(
    ("section", "key", "said"),
    [
        ("global_settings", "trade_interval_seconds", "(did you mean default_trade_interval_seconds?)"),
        ("global_settings", "target_volume", "belongs to one strategy, not to global_settings"),
        ("global_settings", "user_ids", "belongs to one strategy, not to global_settings"),
        ("strategies", "default_max_cost_usdt", "(did you mean max_cost_usdt?)"),
        ("strategies", "max_concurrent_users", "belongs to global_settings"),
        ("override", "target_volume", "no user can override it"),
        ("override", "volume_window", "no user can override it"),
        ("override", "enabled", "no user can override it"),
        ("override", "max_cost", "(did you mean max_cost_usdt?)"),
        ("override", "default_max_cost_usdt", "(did you mean max_cost_usdt?)"),
    ],
)
def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(section: str, key: str, said: str) -> None:
    text = {
        "global_settings": f"global_settings: {{{key}: 1}}\n" + GOOD,
        "strategies": with_line(f"{key}: 1"),
        "override": GOOD + f"user_overrides: [{{user_id: 1, strategies: {{koge: {{{key}: 1}}}}}}]\n",
    }[section]
    assert said in complaint(text)


def test_overrides_must_name_a_strategy_and_one_of_its_users() -> None:
    def override(user: str, strategy: str) -> str:
        return GOOD.replace("[1]", "[alice]") + (
            f"user_overrides: [{{user_id: {user}, strategies: {{{strategy}: {{max_slippage_steps: 1}}}}}}]"
        )

    assert read(override("alice", "koge")).strategies[0].users[0].max_slippage_steps == 1
    assert "there is no strategy kogi (did you mean koge?)" in complaint(override("alice", "kogi"))
    assert complaint(override("alise", "koge")).endswith(
        "user alise is not among the user_ids of strategy koge (did you mean alice?)"
    )


def test_a_user_has_one_entry_of_overrides() -> None:
    entry = "  - {user_id: 1, strategies: {koge: {max_slippage_steps: 1}}}\n"
    assert "user 1 has overrides already in line 8" in complaint(GOOD + "user_overrides:\n" + entry * 2)
    assert complaints(GOOD + "user_overrides: [{}]") == [
        "t.yaml:7:18  user_overrides[0]: user_id is missing",
        "t.yaml:7:18  user_overrides[0]: strategies is missing",
    ]


def test_sections_with_nothing_but_comments_are_sections_left_out() -> None:
    assert (
        read("global_settings:\n  # nothing yet\n" + GOOD + "user_overrides:\n").strategies
        == read(GOOD).strategies
    )


def second(**changes: str) -> str:
    entry = {
        "target_token": "koge",
        "target_chain": "bsc",
        "target_volume": "5",
        "user_ids": "[2, 1]",
    } | changes
    return GOOD + "  - strategy_id: other\n" + "".join(f"    {k}: {v}\n" for k, v in entry.items() if v)


def test_a_user_and_a_symbol_belong_to_one_enabled_strategy() -> None:
    assert complaint(second()) == (
        "t.yaml:11:19  strategies[1].user_ids[1]: user 1 trades koge on alpha in the enabled strategy koge"
        " already: a user and a symbol belong to one enabled strategy"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": "false"},
        {"user_ids": "[2]"},
        {"target_token": "AOP"},
        {"target_chain": "SOL"},
        {"target_chain": "", "venue": "spot"},
    ],
)
def test_another_user_market_or_a_disabled_strategy_is_no_conflict(changes: dict[str, str]) -> None:
    assert len(read(second(**changes)).strategies) == 2


def test_two_strategies_of_one_id_are_refused() -> None:
    assert "strategy koge stands already in line 2" in complaint(
        second(target_token="AOP").replace("other", "koge")
    )
