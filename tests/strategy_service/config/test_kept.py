"""The last good configuration survives a crash beside a bad file, and nothing else is made of it."""

from pathlib import Path

import pytest

from strategy_service.config import ConfigError, ConfigManager
from strategy_service.config.kept import KeptConfig

GOOD = """\
strategies:
  - {strategy_id: a, target_token: KOGE, target_chain: BSC, target_volume: 10, user_ids: [1]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good file."""
    path = tmp_path / "trading.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_a_restart_beside_a_bad_file_goes_on_with_the_last_good_one(tmp_path: Path, file: Path) -> None:
    kept = KeptConfig(tmp_path / "kept")
    before = ConfigManager(file, kept).config
    file.write_text("strategies: [", encoding="utf-8")
    after = ConfigManager(file, kept).config
    assert after.strategies == before.strategies
    assert after.revision == before.revision
    assert "the last good one stays in force" in after.notices[0]


def test_what_a_reload_put_in_force_is_what_is_kept(tmp_path: Path, file: Path) -> None:
    kept = KeptConfig(tmp_path / "kept")
    manager = ConfigManager(file, kept)
    file.write_text(GOOD.replace("target_volume: 10", "target_volume: 20"), encoding="utf-8")
    manager.reload()
    file.write_text("nonsense: 1", encoding="utf-8")
    assert str(ConfigManager(file, kept).config.strategies[0].target_volume) == "20"


def test_a_bad_file_that_was_never_good_is_refused(tmp_path: Path, file: Path) -> None:
    kept = KeptConfig(tmp_path / "kept")
    ConfigManager(file, kept)
    other = tmp_path / "other.yaml"
    other.write_text("strategies: [", encoding="utf-8")
    with pytest.raises(ConfigError):
        ConfigManager(other, kept)
