"""Tables on terminals of any width, and in pipes."""

import re
import sys

import pytest

from strategy_service.cli.output import print_table

COLUMNS = ("order", "user", "state", "reason")
ROW = ("528997716948371a", "1", "blocked", "180 SELLs rest, at most 180 may: waits until one fills")


@pytest.fixture
def terminal(monkeypatch):
    def make(width):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")

    return make


def lines(capsys):
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    return [line.rstrip() for line in out.splitlines()]


@pytest.mark.parametrize("width", [52, 60, 80])
def test_a_narrow_terminal_wraps_the_words_and_no_id(capsys, terminal, width):
    terminal(width)
    print_table(COLUMNS, [ROW])
    found = lines(capsys)
    assert len(found) > 2
    assert all(len(line) <= width for line in found)
    assert any(line.startswith(ROW[0]) for line in found)
    assert " ".join(line[33:].strip() for line in found[1:]) == ROW[3]


def test_a_terminal_that_has_no_room_for_words_gets_whole_lines(capsys, terminal):
    terminal(40)
    print_table(COLUMNS, [ROW])
    assert lines(capsys)[1].split(maxsplit=3) == list(ROW)


def test_a_pipe_gets_whole_lines(capsys):
    print_table(COLUMNS, [ROW, ("2", "刷量", "", "")])
    found = lines(capsys)
    assert found[0].split() == list(COLUMNS)
    assert found[1].split(maxsplit=3) == list(ROW)
    assert len(found) == 3
