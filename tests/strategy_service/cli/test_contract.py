"""Every CLI command that the contract names exists."""

import re
from pathlib import Path

import pytest
import typer

from strategy_service.cli import rpc
from strategy_service.cli.app import app

PROTOS = Path(__file__).parents[3] / "protos"
MENTIONED = sorted(
    {
        found
        for path in PROTOS.glob("*.proto")
        for found in re.findall(r"`otopilot ([^`]+)`", path.read_text(encoding="utf-8"))
    }
)


def command_of(words):
    """Walk the command tree; returns the command and the words that are left."""
    command = typer.main.get_command(app)
    context = typer.Context(command)
    while words and hasattr(command, "get_command"):
        below = command.get_command(context, words[0])
        if below is None:
            break
        command, words = below, words[1:]
    return command, words


def test_the_contract_names_commands():
    assert len(MENTIONED) > 15


@pytest.mark.parametrize("mentioned", MENTIONED)
def test_a_command_that_the_contract_names_exists(mentioned):
    words = mentioned.split()
    if words[0] == "rpc":
        assert rpc._find(words[1]).name == words[1]
        return
    command, left = command_of(words)
    assert left != words, f"no command {mentioned}"
    options = {name for parameter in command.params for name in parameter.opts}
    for word in left:
        assert word in options or word.isupper(), f"{mentioned}: {command.name} has no {word}"


def test_every_rpc_of_the_contract_can_be_called():
    methods = rpc._methods()
    assert len(methods) == 25
    for full, method in methods.items():
        assert rpc._find(method.name) is method
        assert rpc._find(full) is method
        assert rpc._find(method.full_name) is method
