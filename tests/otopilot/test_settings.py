"""Settings: the file below the environment, every problem at once with its place, never a value."""

import os
from pathlib import Path

import pytest

from otopilot.settings import Endpoint, Secret, SettingsError, load


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what a test sets is set; no file of the working directory is read."""
    for name in list(os.environ):
        if name.startswith("OTOPILOT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "services.yaml"


def refusal(file: Path | None = None) -> list[str]:
    """The lines of the error that loading ends with."""
    with pytest.raises(SettingsError) as caught:
        load(file)
    return str(caught.value).splitlines()


def test_nothing_said_is_paper_on_loopback() -> None:
    chosen = load()
    assert chosen.mode == "paper"
    assert [e.target for e in (chosen.market, chosen.order, chosen.strategy)] == [
        "127.0.0.1:50051",
        "127.0.0.1:50052",
        "127.0.0.1:50053",
    ]


def test_the_environment_goes_over_the_file_key_by_key(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("data_dir: there\norder: {port: 1000, recv_window_ms: 500}\n")
    monkeypatch.setenv("OTOPILOT_ORDER__PORT", "2000")
    chosen = load(file)
    assert chosen.data_dir == Path("there")
    assert (chosen.order.port, chosen.order.recv_window_ms) == (2000, 500)


def test_the_file_may_be_named_by_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("data_dir: there\n")
    monkeypatch.setenv("OTOPILOT_SETTINGS", str(file))
    assert load().data_dir == Path("there")


def test_an_empty_file_changes_nothing(file: Path) -> None:
    file.write_text("")
    assert load(file) == load()


def test_the_file_that_comes_with_the_project_says_what_is_built_in() -> None:
    assert load(Path(__file__).parents[2] / "config" / "services.yaml") == load()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().order.port = 1


def test_every_problem_is_told_at_once_with_its_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("mode: dry\norder: {port: x, prot: 1}\nsurprise: 1\n")
    monkeypatch.setenv("OTOPILOT_MARKET__SILENCE_SECONDS", "-1")
    lines = refusal(file)
    places = [line.split(": ", 2)[:2] for line in lines]
    assert sorted(places) == [
        [f"{file}", "mode"],
        [f"{file}", "order.port"],
        [f"{file}", "order.prot"],
        [f"{file}", "surprise"],
        ["OTOPILOT_MARKET__SILENCE_SECONDS", "Input should be greater than 0"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "secret: hunter2\n",
        "market: {port: hunter2}\n",
        "mode: hunter2\n",
        "order: hunter2\n",
        "order: {secret: hunter2\nmode: ]\n",
        "mode: 'hunter2\n",
        "- hunter2\n",
        "{1: hunter2}\n",
        "mode: *other hunter2\n",
    ],
)
def test_a_value_in_the_wrong_place_is_never_repeated(file: Path, text: str) -> None:
    file.write_text(text)
    (line,) = refusal(file)
    assert line.startswith(str(file))
    assert "hunter2" not in line.removeprefix(str(file))


def test_a_broken_variable_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTOPILOT_ORDER", "{hunter2")
    (line,) = refusal()
    assert '"order"' in line
    assert "hunter2" not in line


def test_a_file_that_cannot_be_parsed_says_where(file: Path) -> None:
    file.write_text("mode: paper\norder: {port: 1\n")
    (line,) = refusal(file)
    assert line.startswith(f"{file}:3:1: ")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"mode: \x00"])
def test_a_file_that_is_no_text_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refusal(file)


def test_a_named_file_must_be_there(file: Path) -> None:
    assert str(file) in refusal(file)[0]


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret!r} {secret}"
    assert secret.get_secret_value() == "hunter2"


# ------------------------------------------------------------------ where it may listen


def test_beyond_loopback_nothing_listens_and_every_such_host_is_named(file: Path) -> None:
    file.write_text("market: {host: 0.0.0.0}\norder: {host: 192.168.0.7}\nstrategy: {host: example.com}\n")
    hosts = [line.split(": ")[0] for line in refusal(file)]
    assert hosts == ["host 0.0.0.0", "host 192.168.0.7", "host example.com"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_nothing(file: Path, host: str) -> None:
    file.write_text(f"market: {{host: '{host}'}}\n")
    assert load(file).market.host == host


def test_a_container_may_listen_in_paper_mode_and_never_live(file: Path) -> None:
    file.write_text("container_bind: true\nmarket: {host: 0.0.0.0}\n")
    assert load(file).market.host == "0.0.0.0"
    file.write_text("container_bind: true\nmode: live\nmarket: {host: 0.0.0.0}\n")
    assert "host 0.0.0.0" in refusal(file)[0]


def test_clients_go_where_the_endpoint_says_it_is() -> None:
    assert (
        Endpoint(host="0.0.0.0", port=50051, address="market-service:50051").target == "market-service:50051"
    )
