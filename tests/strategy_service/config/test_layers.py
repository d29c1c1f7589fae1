"""Which layer wins, what a value's origin is, files and their stand-ins, reloads."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from strategy_service.config import (
    ConfigError,
    ConfigManager,
    TradingConfig,
    UnknownName,
    UserSettings,
    as_dict,
    diff,
    explain,
    load,
)
from strategy_service.config.keys import OF_STRATEGY, PER_USER
from tests.strategy_service.config.reading import GOOD, read

LAYERED = """\
global_settings:
  default_single_trade_amount_usdt: 40
  default_buy_offset_percentage: 0.7
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: 16384
    single_trade_amount_usdt: 45
    user_ids: [1, 2]
user_overrides:
  - user_id: 1
    strategies:
      koge: {single_trade_amount_usdt: 50}
"""


def test_the_defaults_are_those_of_the_product() -> None:
    assert read(GOOD).strategies[0].users == (UserSettings("1", "koge"),)
    settings = UserSettings("1", "koge")
    assert {key.name: getattr(settings, key.name) for key in PER_USER} == {
        "single_trade_amount_usdt": Decimal(30),
        "trade_interval_seconds": Decimal(1),
        "buy_offset_percentage": Decimal("0.5"),
        "sell_profit_percentage": Decimal(1),
        "fill_timeout_seconds": Decimal(2),
        "slippage_step_percentage": Decimal("0.2"),
        "max_slippage_steps": 5,
        "sell_timeout_seconds": None,
        "max_sell_discount_percentage": Decimal(2),
        "max_open_sells": None,
        "max_quote_age_seconds": Decimal(3),
        "max_price_volatility_percentage": Decimal(5),
        "volatility_window_seconds": Decimal(60),
        "max_cost_usdt": None,
        "max_cost_per_1000": None,
    }
    strategy = read(GOOD).strategies[0]
    assert (strategy.target_scope, strategy.volume_side, str(strategy.volume_window)) == (
        "shared",
        "buy",
        "day",
    )
    assert read(GOOD).max_concurrent_users == 10


def test_each_layer_wins_over_the_one_below() -> None:
    one, two = read(LAYERED).strategies[0].users
    assert (one.single_trade_amount_usdt, two.single_trade_amount_usdt) == (50, 45)
    assert one.buy_offset_percentage == Decimal("0.7")
    assert one.sell_profit_percentage == 1


def test_a_value_names_the_line_that_set_it_and_what_it_shadows() -> None:
    config = read(LAYERED)
    (amount,) = explain(config, "koge", "1", "single_trade_amount_usdt")
    assert (amount.key, amount.value_text, amount.origin) == (
        "single_trade_amount_usdt",
        "50",
        "t.yaml:14:40",
    )
    assert amount.shadowed == (("45", "t.yaml:9:31"), ("40", "t.yaml:2:37"), ("30", "built-in"))
    (of_two,) = explain(config, "koge", "2", "default_single_trade_amount_usdt")
    assert (of_two.value_text, of_two.origin) == ("45", "t.yaml:9:31")
    (profit,) = explain(config, "koge", "1", "sell_profit_percentage")
    assert (profit.value_text, profit.origin, profit.shadowed) == ("1", "built-in", ())


def test_explain_without_a_key_explains_every_key() -> None:
    explained = [each.key for each in explain(read(LAYERED), "koge", "1")]
    assert explained == [k.name for k in (*OF_STRATEGY, *PER_USER)] + ["user_ids", "max_concurrent_users"]


def test_the_resolved_configuration_is_plain_data_with_amounts_as_text() -> None:
    data = json.loads(json.dumps(as_dict(read(LAYERED))))
    (strategy,) = data["strategies"]
    assert (strategy["target_volume"], strategy["venue"], strategy["enabled"]) == ("16384", "alpha", True)
    assert [user["single_trade_amount_usdt"] for user in strategy["users"]] == ["50", "45"]
    assert strategy["users"][0]["max_slippage_steps"] == 5
    assert strategy["users"][0]["sell_timeout_seconds"] is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("kogi", "1", None), "unknown strategy 'kogi' (did you mean koge?)"),
        (("usdt", "1", None), "unknown strategy 'usdt': there is koge"),
        (("koge", "3", None), "unknown user '3' of strategy koge: there is 1, 2"),
        (("koge", "1", "max_cost_usd"), "unknown key 'max_cost_usd' (did you mean max_cost_usdt?)"),
    ],
)
def test_an_unknown_name_is_a_key_error_that_reads_well(
    asked: tuple[str, str, str | None], said: str
) -> None:
    with pytest.raises(KeyError) as caught:
        explain(read(LAYERED), *asked)
    assert isinstance(caught.value, UnknownName)
    assert str(caught.value) == said


def test_the_configuration_cannot_be_changed() -> None:
    config = read(LAYERED)
    with pytest.raises(AttributeError):
        config.max_concurrent_users = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.strategies[0].users[0].max_slippage_steps = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.strategies[0].layers["venue"] = ()  # type: ignore[index]


@pytest.mark.parametrize(
    ("there", "asked"),
    [("trading_strategy.yaml", "trading_config.yaml"), ("trading_config.yaml", "trading_strategy.yaml")],
)
def test_either_seed_name_stands_in_for_the_other(there: str, asked: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text(GOOD)
    config = load(tmp_path / asked)
    assert config.path == str(tmp_path / there)
    assert config.notices == (f"{tmp_path / asked} is missing: reading {tmp_path / there}",)


def test_without_a_path_the_shipped_name_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/trading_strategy.yaml").write_text(GOOD)
    assert load(None).path == os.path.join("config", "trading_strategy.yaml")
    (tmp_path / "config/trading_config.yaml").write_text(GOOD)
    assert load(None).notices == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trading_config.yaml", "no such file, and no trading_strategy.yaml beside it"),
        ("other.yaml", "no such file"),
        (".", "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_configuration_error(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}  {said}"


def test_the_revision_follows_the_content_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(GOOD)
    two.write_text(GOOD)
    assert load(one).revision == load(two).revision
    assert len(load(one).revision) == 12
    two.write_text(GOOD + "# a word\n")
    assert load(one).revision != load(two).revision


def test_a_bad_file_never_replaces_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(LAYERED)
    manager = ConfigManager(path)
    good = manager.config
    for bad in (LAYERED.replace("16384", "1e4"), "", "\t"):
        path.write_text(bad)
        for ask in (manager.reload, manager.preview):
            with pytest.raises(ConfigError):
                ask()
        assert manager.config is good
    path.unlink()
    with pytest.raises(ConfigError):
        manager.reload()
    assert manager.config is good


def test_reload_puts_the_new_file_in_force_and_preview_does_not(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(LAYERED)
    manager = ConfigManager(path)
    path.write_text(LAYERED.replace("16384", "20000"))
    expected = ("strategy koge: target_volume 16384 -> 20000 (next cycle)",)
    assert manager.preview().lines == expected
    assert manager.config.strategy("koge").target_volume == 16384
    assert manager.reload().lines == expected
    assert manager.config.strategy("koge").target_volume == 20000
    assert not manager.reload()


def changed(*replacements: tuple[str, str], base: str = LAYERED) -> tuple[str, ...]:
    after = base
    for old, new in replacements:
        assert old in after
        after = after.replace(old, new)
    return diff(read(base), read(after)).lines


def test_a_difference_says_what_changes_for_whom_and_when() -> None:
    assert changed(("[1, 2]", "[1, 3]")) == (
        "strategy koge, user 3 added (starts; what it has traded in the window joins the shared total)",
        "strategy koge, user 2 removed (drains; what it has traded leaves the shared total)",
    )
    assert changed(("50", "60")) == ("strategy koge, user 1: single_trade_amount_usdt 50 -> 60 (next cycle)",)
    assert changed(("0.7", "0.9")) == ("strategy koge: buy_offset_percentage 0.7 -> 0.9 (next cycle)",)
    assert changed(("target_chain: BSC", "venue: spot")) == (
        "strategy koge: venue alpha -> spot (drains, then starts on the new market)",
        "strategy koge: target_chain BSC -> none (drains, then starts on the new market)",
    )
    assert changed(("global_settings:", "global_settings:\n  max_concurrent_users: 4")) == (
        "global_settings: max_concurrent_users 10 -> 4 (as places become free: nobody loses its own)",
    )
    assert changed(("global_settings:", "global_settings:\n  max_concurrent_users: 40")) == (
        "global_settings: max_concurrent_users 10 -> 40 (at once)",
    )
    assert changed(("    target_volume", "    enabled: false\n    target_volume")) == (
        "strategy koge: enabled true -> false (drains)",
    )


def test_a_difference_without_meaning_is_none() -> None:
    assert changed(("global_settings:", "# a word\nglobal_settings:")) == ()
    assert changed(("user_ids: [1, 2]", 'user_ids: ["1", 2]'), ("45", "45.0")) == ()


def test_strategies_that_come_and_go_start_and_drain() -> None:
    other = GOOD.replace("koge", "aop").replace("KOGE", "AOP").removeprefix("strategies:\n")
    one, two, idle = read(GOOD), read(GOOD + other), read(GOOD + other + "    enabled: false\n")
    assert diff(one, two).lines == ("strategy aop added (starts)",)
    assert diff(two, one).lines == ("strategy aop removed (drains)",)
    assert diff(one, idle).lines == ("strategy aop added (not enabled)",)
    assert diff(idle, two).lines == ("strategy aop: enabled false -> true (starts)",)


def test_only_enabled_strategies_run_but_all_can_be_asked_for() -> None:
    config: TradingConfig = read(GOOD + "    enabled: false\n")
    assert config.enabled() == ()
    assert config.strategy("koge").strategy_id == "koge"
