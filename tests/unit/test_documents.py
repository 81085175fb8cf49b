import pytest
from pydantic import BaseModel, ConfigDict

from loopreview.rules.documents import DocumentError, Problem, build, read_yaml


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: float
    names: tuple[str, ...] = ()
    span: tuple[int, int] = (1, 2)


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    parts: dict[str, Part]
    listed: list[Part] | None = None
    on: bool = False


def problems(text: str) -> list[Problem]:
    with pytest.raises(DocumentError) as caught:
        build(Whole, read_yaml(text, "f.yaml"))
    return caught.value.problems


def message(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        build(Whole, read_yaml(text, "f.yaml"))
    return str(caught.value)


@pytest.mark.parametrize("word", ["NO", "no", "yes", "Y", "on", "off", "1_000", "2024-01-01", "12:30:00", "0b11", "."])
def test_what_only_yaml_1_1_reads_as_something_else_stays_text(word: str) -> None:
    assert read_yaml(f"a: {word}", "f.yaml").value == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [("true", True), ("False", False), ("~", None), ("null", None), ("", None), ("7", 7), ("-7", -7), ("017", 17),
     ("0o17", 15), ("0x1F", 31), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-.inf", float("-inf")),
     ("'7'", "7"), ('"true"', "true"), ("!!str 7", "7"), ("!!float 7", 7.0)],
)  # fmt: skip
def test_scalars_of_the_core_schema(word: str, value: object) -> None:
    found = read_yaml(f"a: {word}", "f.yaml").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_as_typed() -> None:
    assert read_yaml("NO: a\n18-25: b\n7: c\ntrue: d", "f").value == {"NO": "a", "18-25": "b", "7": "c", "true": "d"}


def test_a_line_is_that_of_the_key_or_of_the_nearest_known_ancestor() -> None:
    document = read_yaml("# note\na:\n  b: 1\n\n  c:\n    - x\n    - {d: 2}\n", "f.yaml")
    assert document.line("a") == 2
    assert document.line("a", "b") == 3
    assert document.line("a", "c", 1) == 7
    assert document.line("a", "c", 1, "d") == 7
    assert document.line("a", "c", 1, "nowhere", 3) == 7
    assert document.line("nowhere") == document.line() == 2


@pytest.mark.parametrize("text", ["", "  \n\n", "# only a comment\n", "---\n", "null"])
def test_an_empty_file_is_an_error(text: str) -> None:
    with pytest.raises(DocumentError, match=r"^f\.yaml line 1: the file is empty$"):
        read_yaml(text, "f.yaml")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: c: d", 2, "colon"),
        ("a: 1\nb:\n\t- c", 3, "tabs"),
        ("a: 1\nb: [1, 2", 2, "expected"),
        ('a: 1\nb: "c', 2, "end of stream"),
        ("--- 1\n--- 2", 2, "second document"),
        ("a: 1\n? [b]\n: c", 2, "a key must be"),
        ("a: 1\nb: !!python/object:os.system c", 2, "not supported"),
        ("a: 1\nb: !!int c", 2, "not supported"),
        ("a: 1\nb: *c", 2, "alias"),
        ("a: 1\nb: \x07", 2, "control characters"),
        ("a: 1\nb: \ud800", 2, "UTF-8"),
    ],
)
def test_bad_yaml_names_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_yaml(text, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml line {line}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    with pytest.raises(DocumentError, match=r"f\.yaml line 3: `a` is here twice, first at line 1"):
        read_yaml("a: 1\nb: 2\na: 3", "f.yaml")
    with pytest.raises(DocumentError, match="line 2"):
        read_yaml("x: {a: 1,\n  a: 1}", "f.yaml")


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "a: " + "[" * 200 + "]" * 200, "&a [*a]"])
def test_nesting_without_end_is_an_error_and_no_crash(text: str) -> None:
    with pytest.raises(DocumentError):
        read_yaml(text, "f.yaml")


def test_aliases_that_multiply_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)
    )
    with pytest.raises(DocumentError, match="too many values"):
        read_yaml(bomb, "f.yaml")


def test_a_plain_alias_is_allowed() -> None:
    assert read_yaml("a: &x [1]\nb: *x", "f.yaml").value == {"a": [1], "b": [1]}


def test_an_unknown_key_has_its_line_and_the_nearest_known_key_and_is_one_problem() -> None:
    text = "parts:\n  tone:\n    wieght: 1\n"
    assert problems(text) == [(3, 5, "unknown key `wieght` in tone; did you mean `weight`?")]
    assert message(text) == "f.yaml line 3: unknown key `wieght` in tone; did you mean `weight`?"


def test_an_unknown_key_like_none_lists_the_known_ones() -> None:
    assert message("parts: {a: {weight: 1}}\ncolour: red") == (
        "f.yaml line 2: unknown key `colour`; known keys: parts, listed, on"
    )


def test_a_known_key_beside_an_unknown_one_is_found_in_lists_and_optional_values() -> None:
    text = "parts: {}\nlisted:\n  - {weight: 1}\n  - {weight: 1, nmaes: [x]}"
    assert message(text) == "f.yaml line 4: unknown key `nmaes` in item 2 of listed; did you mean `names`?"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("{weight: heavy}", "`weight` in a: must be a number, not 'heavy'"),
        ("{weight: }", "`weight` in a: must be a number, not nothing"),
        ("{}", "`weight` is missing in a"),
        ("{weight: 1, names: x}", "`names` in a: must be a list, not 'x'"),
        ("{weight: 1, names: [7]}", "item 1 of names: must be text, not 7; put it in quotes"),
        ("{weight: 1, names: [[7]]}", "item 1 of names: must be text, not a list"),
        ("{weight: 1, span: [1]}", "a value is missing in span"),
        ("{weight: 1, span: [1, 2, 3]}", "`span` in a: must hold at most 2 entries"),
        ("{weight: 1, span: [1, 2.5]}", "item 2 of span: must be a whole number, not 2.5"),
        ("[1]", "`a` in parts: must be `key: value` lines, not a list"),
    ],
)
def test_a_wrong_value_is_said_in_plain_words(part: str, words: str) -> None:
    assert message(f"on: true\nparts:\n  a: {part}") == f"f.yaml line 3: {words}"


def test_all_problems_come_at_once_in_order_of_lines() -> None:
    found = problems("parts:\n  a: {weight: x}\n  b: {weight: 1, foo: 2}\non: maybe")
    assert [p.line for p in found] == [2, 3, 4]
    assert message("parts:\n  a: {weight: x}\n  b: {weight: 1, foo: 2}\non: maybe").endswith("(and 2 more problems)")


def test_a_part_of_a_file_can_be_built_alone() -> None:
    document = read_yaml("x:\n  y: {weight: 2}\n  z: {wait: 3}", "f.yaml")
    assert build(Part, document, root=("x", "y")).weight == 2
    with pytest.raises(DocumentError, match="line 3: unknown key `wait` in z"):
        build(Part, document, root=("x", "z"))


@pytest.mark.parametrize("text", ["- a", "hello", "7"])
def test_a_file_that_is_no_mapping_says_so(text: str) -> None:
    assert "the file must be `key: value` lines" in message(text)


@pytest.mark.parametrize("text", ["[" * 50_000, "a: " + "{b: " * 30_000, "- " * 40_000], ids=["list", "map", "items"])
def test_nesting_that_would_overflow_the_stack_is_a_line(text: str) -> None:
    with pytest.raises(DocumentError, match="line 1: nested too deep"):
        read_yaml(text, "rubric.yaml")
