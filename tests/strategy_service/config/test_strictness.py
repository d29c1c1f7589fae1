"""The strict loader: each trap is an error with its place and a way out, all errors at once."""

import pytest
import yaml

from strategy_service.config import ConfigError, yaml_source
from tests.strategy_service.config.reading import GOOD, complaint, complaints, read, with_line


@pytest.fixture(autouse=True, params=["SafeLoader", "CSafeLoader"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML's two parsers must say the same; which one is there depends on how it was built."""
    if not hasattr(yaml, request.param):
        pytest.fail("this PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_source, "_LOADER", getattr(yaml, request.param))


def test_the_plain_file_loads() -> None:
    assert read(GOOD).strategy("koge").user_ids == ("1",)


def test_all_mistakes_of_a_file_show_at_once_in_its_order() -> None:
    text = """\
global_settings:
  default_trade_intervall_seconds: 1
strategies:
  - strategy_id: a
    target_token: ON
    target_chain: BSC
    target_volume: 1e3
    user_ids: [1, "1"]
user_overrides:
  - user_id: 2
    strategies:
      b: {}
"""
    assert complaints(text) == [
        "t.yaml:2:3  global_settings.default_trade_intervall_seconds: unknown key"
        " 'default_trade_intervall_seconds' (did you mean default_trade_interval_seconds?)",
        "t.yaml:5:19  strategies[0].target_token: ON is a YAML boolean where a name stands: write it in"
        ' quotes, "ON"',
        "t.yaml:7:20  strategies[0].target_volume: '1e3' is no plain decimal number (write 1000)",
        "t.yaml:8:19  strategies[0].user_ids[1]: user 1 is listed twice (first at 8:16)",
        "t.yaml:12:7  user_overrides[0].strategies.b: there is no strategy b",
    ]


def test_the_error_carries_each_problem_as_data() -> None:
    with pytest.raises(ConfigError) as caught:
        read(GOOD.replace("100", "many"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("t.yaml", 5, 20)
    assert problem.path == "strategies[0].target_volume"
    assert problem.message == "'many' is no plain decimal number"
    assert str(caught.value) == str(problem)


@pytest.mark.parametrize(
    ("written", "way_out"),
    [
        ("1e3", "(write 1000)"),
        ("1.5E-3", "(write 0.0015)"),
        ("010", "(YAML tools read a leading 0 as octal: write 10)"),
        (".5", "(write 0.5)"),
        ("5.", "(write 5)"),
        ("1_000", "(write 1000)"),
        ("16,384", "(write 16384)"),
        ("0,5", ""),
        ("1:30", ""),
        ("0x10", ""),
        ("0o17", ""),
        (".inf", ""),
        (".nan", ""),
        ("NaN", ""),
        ("30 USDT", "(write 30)"),
        ("5%", "(write 5)"),
        ("٣", ""),
        ("１", ""),
        ('" 5"', "(write 5)"),
        ("true", ""),
    ],
)
def test_a_number_that_is_not_plainly_decimal_is_refused(written: str, way_out: str) -> None:
    said = complaint(GOOD.replace("100", written))
    assert said.startswith("t.yaml:5:20  strategies[0].target_volume: ")
    assert said.endswith(f"is no plain decimal number {way_out}".rstrip())


def test_a_number_in_quotes_is_the_same_number() -> None:
    assert read(GOOD.replace("100", '"100.25"')).strategies == read(GOOD.replace("100", "100.25")).strategies


def test_a_number_too_long_to_be_meant_is_refused() -> None:
    assert "too many digits" in complaint(GOOD.replace("100", "1" * 31))
    assert "more than 4096 characters" in complaint(GOOD.replace("100", "1" * 5000))


@pytest.mark.parametrize("word", ["ON", "no", "Yes", "off", "true"])
@pytest.mark.parametrize("key", ["target_token", "target_chain", "strategy_name", "strategy_id"])
def test_a_yaml_boolean_where_a_name_stands_is_refused(word: str, key: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.strip(" -").startswith(f"{key}:")]
    if key == "strategy_id":
        lines.insert(1, f"  - {key}: {word}")
    else:
        lines.append(f"    {key}: {word}")
    said = complaint("\n".join(lines))
    assert f"{word} is a YAML boolean where a name stands" in said
    assert f'write it in quotes, "{word}"' in said


def test_the_same_word_in_quotes_is_a_name() -> None:
    assert read(GOOD.replace("KOGE", '"ON"')).strategy("koge").target_token == "ON"


@pytest.mark.parametrize("written", ["010", "1_0", "0x1F", "12:30", "1.0", "1e3", "0o7", "2026-01-31", ".5"])
def test_an_id_that_yaml_tools_read_in_different_ways_is_refused(written: str) -> None:
    said = complaint(GOOD.replace("[1]", f"[{written}]"))
    assert said.startswith("t.yaml:6:16  strategies[0].user_ids[0]: ")


def test_ids_are_text_whether_written_as_numbers_or_not() -> None:
    config = read(GOOD.replace("[1]", '[1, "007", alice, "2026-01-31"]'))
    assert config.strategies[0].user_ids == ("1", "007", "alice", "2026-01-31")
    overridden = read(GOOD + 'user_overrides: [{user_id: "1", strategies: {koge: {max_slippage_steps: 2}}}]')
    assert overridden.strategies[0].user("1").max_slippage_steps == 2


@pytest.mark.parametrize("written", ["a/b", "-a", '""', "'a b'", "测试", "x" * 65])
def test_an_id_that_could_not_stand_in_a_request_id_is_refused(written: str) -> None:
    assert "strategies[0].user_ids[0]" in complaint(GOOD.replace("[1]", f"[{written}]"))


@pytest.mark.parametrize("written", ["yes", "True", "on", '"true"', "1", "null"])
def test_enabled_is_true_or_false_and_nothing_like_it(written: str) -> None:
    assert "true or false" in complaint(with_line(f"enabled: {written}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "    target_volume: 5\n",
            "7:5  strategies[0].target_volume: this key stands already in line 5",
        ),
        (GOOD + "strategies: []\n", "t.yaml:7:1  strategies: this key stands already in line 1"),
        (
            GOOD + "globl_settings: {}\n",
            "7:1  globl_settings: unknown key 'globl_settings' (did you mean global_settings?)",
        ),
        (
            with_line("user_id: [1]"),
            "7:5  strategies[0].user_id: unknown key 'user_id' (did you mean user_ids?)",
        ),
        (with_line("<<: {enabled: false}"), "YAML merge keys (<<) are not used here"),
        (GOOD.replace("100", "&v 100"), "YAML anchors (&name) are not used here"),
        (GOOD.replace("100", "!!float 100"), "YAML tags ('tag:yaml.org,2002:float') are not used here"),
        (GOOD + "---\n" + GOOD, "t.yaml:7:1  a second YAML document: one file is one document"),
        (with_line("? [a]\n    : 1"), "t.yaml:7:7  strategies[0]: a key must be a plain word"),
        (GOOD.replace("    target_t", "\ttarget_t"), "t.yaml:3:1  a tab indents this line"),
        (GOOD.replace("[1]", "[1"), "not valid YAML"),
        ("a: b: c\n", "t.yaml:1:5  not valid YAML"),
        ("", "t.yaml:1:1  the file is empty"),
        ("# nothing\n---\n", "t.yaml:1:1  the file is empty"),
        ("[]", "a table is wanted here"),
        ("hello", "a table is wanted here"),
        ("global_settings: {}", "strategies is missing"),
        ("strategies:", "the value is missing: a list of strategies is wanted here"),
        ("strategies: {a: 1}", "a list of strategies is wanted here, not a table"),
        ("strategies: [a]", "a table is wanted here: the keys of one strategy, not 'a'"),
        (GOOD.replace("100", "[100]"), "a list stands where a number is wanted"),
        (GOOD.replace("100", "{a: 1}"), "a table stands where a number is wanted"),
        (GOOD.replace("100", ""), "the value is missing: a number is wanted"),
        (GOOD.replace("[1]", "1"), "a list of user ids such as [1, 2] is wanted here, not '1'"),
        (GOOD.replace("[1]", "[]"), "at least one user id is wanted"),
        (b"strategies: \xff\n", "t.yaml:1:13  not UTF-8 text (byte 0xff)"),
        (b"a\xc3\xa9: \x00\n", "t.yaml:1:5  not plain text (character U+0000)"),
        (b"\x7fELF\x02\x01", "not plain text (character U+007F)"),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper than 16 levels"),
        (b"#" * (4 * 1024 * 1024 + 1), "the file is larger than 4096 KiB"),
    ],
)
def test_what_has_no_place_in_the_file_is_refused_with_one_line(text: str | bytes, said: str) -> None:
    assert said in complaint(text)


@pytest.mark.parametrize("key", ["strategy_name", "target_token"])
@pytest.mark.parametrize("written", [r'"a\e[31mb"', r'"a\nb"', r'"a\u202eb"', '" "', "x" * 101])
def test_a_name_that_would_garble_a_screen_is_refused(key: str, written: str) -> None:
    said = complaint(
        GOOD.replace("    target_token: KOGE\n", "")
        + f"    {key}: {written}\n".replace("strategy_name: ", "target_token: K\n    strategy_name: ")
    )
    assert f"strategies[0].{key}: " in said
    assert said.isprintable()


def test_an_alias_is_refused_together_with_its_anchor() -> None:
    text = GOOD.replace("KOGE", "&t KOGE").replace("BSC", "*t")
    assert [line.partition("strategies[0].")[2] for line in complaints(text)] == [
        "target_token: YAML anchors (&name) are not used here: write the value out",
        "target_chain: YAML aliases (*name) are not used here: write the value out",
    ]


def test_columns_count_characters_also_after_chinese_and_a_byte_order_mark() -> None:
    text = "\ufeff" + GOOD + '    strategy_name: "刷量"\n    enabled: {"刷量": 1, b: 2}\n'
    assert complaint(text).startswith("t.yaml:8:14  strategies[0].enabled: ")
    assert complaint('{"刷量策略": x, strategies: []}').startswith("t.yaml:1:2  ")


def test_thousands_of_mistakes_are_cut_with_their_number() -> None:
    said = complaints("strategies: []\n" + "".join(f"k{n}: 1\n" for n in range(1000)))
    assert len(said) == 201
    assert said[-1] == "t.yaml  and 800 more mistakes"
