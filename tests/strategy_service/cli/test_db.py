"""`otopilot db`: the journal's own program behind it, with its words, data and exit codes."""

import json
from pathlib import Path

import pytest

from order_service.store import SqliteStore
from strategy_service.cli.app import main
from strategy_service.cli.errors import Exit


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "order.db"
    SqliteStore(path).close()
    return path


def test_a_sound_journal_is_told_as_data(journal: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "check", "--replay", "--journal", str(journal), "-o", "json"]) == Exit.OK
    assert json.loads(capfd.readouterr().out)["verdict"] == "sound"
    assert main(["db", "check", "--journal", str(journal)]) == Exit.OK
    assert "sound" in capfd.readouterr().out


def test_without_a_file_it_is_the_journal_of_the_settings(
    journal: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTOPILOT_DATA_DIR", str(journal.parent))
    copy = journal.with_name("copy.db")
    assert main(["db", "backup", "--to", str(copy)]) == Exit.OK
    assert str(copy) in capfd.readouterr().out
    assert main(["db", "check", "--journal", str(copy)]) == Exit.OK
    assert main(["db", "upgrade"]) == Exit.OK


def test_without_a_journal_the_newest_one_nearby_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "demo-1" / "order.db"
    journal.parent.mkdir()
    SqliteStore(journal).close()
    monkeypatch.setenv("OTOPILOT_DATA_DIR", str(tmp_path / "paper"))
    assert main(["db", "check"]) == Exit.NOT_FOUND
    assert f"--journal {journal}" in capfd.readouterr().err


def test_what_is_wrong_is_said_on_stderr_with_its_exit_code(
    journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", "check", "--journal", str(journal.with_name("none.db"))]) == Exit.NOT_FOUND
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("otopilot: there is no journal at")
    content = bytearray(journal.read_bytes())
    content[5000:9000] = bytes(4000)
    journal.write_bytes(content)
    assert main(["db", "check", "--journal", str(journal)]) == Exit.FAILED
    assert "docs/restore.md" in capfd.readouterr().err
