"""Every CLI command and every call that the contract, README and the guide name exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from strategy_service.cli import rpc
from strategy_service.cli.app import app

ROOT = Path(__file__).parents[3]
PORTS = {"market": "50051", "order": "50052", "strategy": "50053"}


def commands_in(text, pattern):
    """The command lines of a text: words after `otopilot`, comments cut off."""
    return {" ".join(shlex.split(found, comments=True)) for found in re.findall(pattern, text, re.MULTILINE)}


def in_contract():
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "protos").glob("*.proto"))
    return sorted(set().union(*(commands_in(text, r"`otopilot ([^`]+)`") for text in texts)))


def documents():
    return [ROOT / "README.md", ROOT / "docs" / "guide.md"]


def in_documents():
    found = set()
    for path in documents():
        text = path.read_text(encoding="utf-8")
        found |= commands_in(text, r"`otopilot ([^`]+)`") | commands_in(text, r"^otopilot (.+)$")
    return sorted(found)


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


def check(line):
    """Raises unless the line names a command with options it has."""
    words = shlex.split(line)
    if words[0] == "rpc" and len(words) > 1:
        assert rpc._find(words[1]).name == words[1]
        return
    command, left = command_of(words)
    assert left != words, f"no command {line}"
    options = {name for parameter in command.params for name in parameter.opts}
    for word in left:
        assert not word.startswith("-") or word in options, f"{line}: {command.name} has no {word}"
    if hasattr(command, "get_command"):
        assert not [word for word in left if word.isalpha() and word.islower()], f"no command {line}"


def test_the_contract_and_the_documents_name_commands():
    assert len(in_contract()) > 15
    assert len(in_documents()) > 25


@pytest.mark.parametrize("line", in_contract())
def test_a_command_that_the_contract_names_exists(line):
    check(line)


@pytest.mark.parametrize("line", in_documents())
def test_a_command_that_the_documents_name_exists(line):
    check(line)


@pytest.mark.parametrize("line", ["nonsense", "orders nonsense", "status --nonsense", "market prise X"])
def test_the_check_itself_finds_what_does_not_exist(line):
    with pytest.raises(AssertionError):
        check(line)


def grpcurl_calls():
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^grpcurl (.+)$", text, re.MULTILINE)]


@pytest.mark.parametrize("words", grpcurl_calls(), ids=" ".join)
def test_a_grpcurl_call_of_readme_names_what_there_is_on_that_port(words):
    address = next(word for word in words if word.startswith("localhost:"))
    rest = words[words.index(address) + 1 :]
    if rest == ["list"] or rest[0].startswith("grpc.health"):
        assert address.removeprefix("localhost:") in PORTS.values()
        return
    name = rest[-1]
    assert address == f"localhost:{PORTS[name.split('.')[1]]}"
    if rest[0] == "describe":
        # Services and messages; the reflection service does not find a method by its name.
        known = {
            each.full_name for m in rpc._methods().values() for each in (m.containing_service, m.input_type)
        }
        assert name in known
        return
    method = rpc._find(name)
    body = words[words.index("-d") + 1] if "-d" in words else "{}"
    json_format.Parse(body, GetMessageClass(method.input_type)())


def test_every_rpc_of_the_contract_can_be_called():
    methods = rpc._methods()
    assert len(methods) == 31
    for full, method in methods.items():
        assert rpc._find(method.name) is method
        assert rpc._find(full) is method
        assert rpc._find(method.full_name) is method


def leaves(command, name, context):
    """Every command that does something, by its whole name."""
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    for each in command.list_commands(context):
        yield from leaves(command.get_command(context, each), f"{name} {each}".strip(), context)


def test_every_command_prints_tables_json_or_json_lines():
    root = typer.main.get_command(app)
    found = dict(leaves(root, "", typer.Context(root)))
    assert len(found) > 35
    for name, command in found.items():
        options = {opt for parameter in command.params for opt in parameter.opts}
        assert {"-o", "--output"} <= options, f"otopilot {name} has no -o"
