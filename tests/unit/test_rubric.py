import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.models.rubric import CHECKS, Criterion, Example, Rubric
from loopreview.rules.checks import PARAMS
from loopreview.rules.documents import DocumentError
from loopreview.rules.rubric import check_rubric, read_rubric, rubric_notes, with_examples

GOOD = """\
name: support
categories:
  understanding: {weight: 0.6, floor: 0.5}
  tone: {weight: 0.4}
  safety: {weight: 0}
criteria:
  - id: U1
    name: Answers the question asked
    category: understanding
    question: Does every reply address what was asked?
    na: invalid
    examples:
      - {label: FAIL, context: "When?", response: NO, reasoning: "It does not say when."}
  - {id: T2, name: Openers, category: tone, kind: check, check: formulaic_openers, params: {share: 0.5}}
  - {id: S1, name: Nothing unsafe, category: safety, gate: true, question: "Is all advice safe?"}
"""
EXAMPLE = Example(label="PASS", response="r", reasoning="because")


def wrong(old: str, new: str) -> str:
    """The one-line message for GOOD with `old` replaced."""
    assert GOOD.count(old) == 1
    with pytest.raises(DocumentError) as caught:
        read_rubric(GOOD.replace(old, new), "rubric.yaml")
    assert caught.value.problems == check_rubric(GOOD.replace(old, new))
    return str(caught.value)


def test_a_rubric_is_read_with_its_defaults() -> None:
    rubric = read_rubric(GOOD, "rubric.yaml")
    assert rubric.pass_threshold == 0.8
    assert [c.id for c in rubric.criteria] == ["U1", "T2", "S1"]
    assert rubric.categories["understanding"].floor == 0.5
    assert rubric.criteria[0].min_exchanges == 1
    assert check_rubric(GOOD) == []


def test_no_stays_text() -> None:
    assert read_rubric(GOOD, "r").criteria[0].examples[0].response == "NO"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tone: {weight: 0.4}", "tone: {weight: 0.45}",
         "line 2: the weights of the categories sum to 1.05, not 1 (understanding 0.6 + tone 0.45 + safety 0)"),
        ("tone: {weight: 0.4}", 'tone: {weight: "0.45"}',
         "line 2: the weights of the categories sum to 1.05, not 1 (understanding 0.6 + tone 0.45 + safety 0)"),
        ("tone: {weight: 0.4}", "tone: {wieght: 0.4}", "line 4: unknown key `wieght` in tone; did you mean `weight`?"),
        ("question: Does", "qestion: Does", "line 10: unknown key `qestion` in U1; did you mean `question`?"),
        ("name: support", "name: support\npass_treshold: 0.7",
         "line 2: unknown key `pass_treshold`; did you mean `pass_threshold`?"),
        ("category: understanding", "category: understading",
         "line 9: category `understading` of U1 does not exist; did you mean `understanding`?"),
        ("id: S1", "id: U1", "line 15: the id U1 is here twice, first at line 7; give each its own"),
        ("check: formulaic_openers", "check: formulaic_opener",
         "line 14: unknown check `formulaic_opener` in T2; did you mean `formulaic_openers`?"),
        ("check: formulaic_openers, ", "",
         "line 14: T2 needs `check:` with one of length_ratio, question_endings, formulaic_openers, language, "
         "truncation, artifacts, regex"),
        ("params: {share: 0.5}", "params: {shore: 0.5}",
         "line 14: unknown key `shore` in params; did you mean `share`?"),
        ("params: {share: 0.5}", "params: {share: 5}",
         "line 14: `share` in params: should be less than or equal to 1, not 5"),
        ("check: formulaic_openers, params: {share: 0.5}", "check: regex, params: {pattern: '('}",
         "line 14: `pattern` in params: '(' is not a regular expression: missing ), unterminated subpattern at "
         "position 0"),
        ("check: formulaic_openers, params: {share: 0.5}", "check: regex", "line 14: `pattern` is missing in params"),
        ("check: formulaic_openers, params: {share: 0.5}", "check: language, params: {language: tlh}",
         "line 14: `language` in params: the language 'tlh' cannot be told; known are "),
        ("check: formulaic_openers, params: {share: 0.5}", "check: length_ratio, params: {good_mean: 3}",
         "line 14: `params` in T2: good_mean and good_share must not be above bad_mean and bad_share"),
        ("kind: check, ", "question: q, ", "line 14: `check` in T2 has no effect without `kind: check`"),
        ("    question: Does every reply address what was asked?\n", "",
         "line 7: U1 needs a `question` for the judges"),
        ("na: invalid", "na: never", "line 11: `na` in U1: should be 'valid' or 'invalid', not 'never'"),
        ("na: invalid", "min_exchanges: 0", "line 11: `min_exchanges` in U1: should be greater than or equal to 1"),
        ("label: FAIL", "label: BAD", "line 13: `label` in item 1 of examples: should be 'PASS', 'FAIL', "),
        ("id: S1, ", "", "line 15: `id` is missing in Nothing unsafe"),
        ("na: invalid", "na: invalid\n    na: valid", "line 12: `na` is here twice, first at line 11; keep one"),
        ("  tone: {weight: 0.4}\n  safety: {weight: 0}", "  tone: {weight: 0.3}\n  safety: {weight: 0.1}",
         "line 5: category safety is used by gate criteria alone, so it must weigh 0"),
        ("name: support", "name: support: agent", "line 1: not valid YAML: mapping values are not allowed"),
        ("id: U1", "id: U 1", "line 7: `id` in U 1: "),
    ],
)  # fmt: skip
def test_a_wrong_rubric_says_what_and_where(old: str, new: str, message: str) -> None:
    assert wrong(old, new).startswith(f"rubric.yaml {message}")


def test_a_gate_in_the_words_of_yaml_1_1_is_still_a_gate() -> None:
    text = GOOD.replace("gate: true", "gate: yes")
    assert read_rubric(text, "r").criteria[2].gate is True
    text = text.replace("tone: {weight: 0.4}\n  safety: {weight: 0}", "tone: {weight: 0.3}\n  safety: {weight: 0.1}")
    assert [p.line for p in check_rubric(text)] == [5]


def test_weights_within_the_tolerance_pass() -> None:
    thirds = (
        "a: {weight: 0.3333333}\n  b: {weight: 0.3333333}\n  understanding: {weight: 0.3333334}\n  tone: {weight: 0}"
    )
    text = GOOD.replace("understanding: {weight: 0.6, floor: 0.5}\n  tone: {weight: 0.4}", thirds)
    assert check_rubric(text) == []
    assert "sum to 0.99999," in str(check_rubric(text.replace("0.3333334", "0.3333234"))[0].message)


def test_an_empty_file_and_other_things_are_no_rubric() -> None:
    for text in ("", "# nothing\n", "hello", "- a\n- b", "categories: 7\ncriteria: {}\nname: x", "criteria: [null, 7]"):
        assert check_rubric(text), text


JUNK = st.recursive(
    st.sampled_from([None, True, 0.5, -1, 7, "", "NO", "tone", "U1", "regex", "("]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*Criterion.model_fields, "weight", "pattern", "in", "x", "tone"]), inner),
    ),
    max_leaves=12,
)


@given(JUNK, JUNK, JUNK, JUNK)
def test_nothing_that_stands_in_a_file_is_more_than_a_problem(
    categories: object, criteria: object, criterion: object, name: object
) -> None:
    regex = {"id": "U1", "name": "n", "category": "tone", "kind": "check", "check": "regex", "params": name}
    for value in (
        name,
        {"name": name, "categories": categories, "criteria": criteria},
        {"name": "x", "categories": {"tone": categories}, "criteria": [criterion, {"id": "U1", "check": criteria}]},
        {"name": "x", "categories": {"tone": {"weight": 1}}, "criteria": [regex]},
    ):
        for problem in check_rubric(json.dumps(value)):
            assert problem.line == 1
            assert problem.message


def test_an_editor_gets_all_problems_at_once_in_order_of_lines() -> None:
    text = (
        GOOD.replace("tone: {weight: 0.4}", "tone: {weight: 0.45}")
        .replace("na: invalid", "na: never")
        .replace("check: formulaic_openers", "check: openers")
        .replace("id: S1", "id: U1")
    )
    assert [p.line for p in check_rubric(text)] == [2, 11, 14, 15]


def test_every_check_of_the_model_has_parameters_and_no_other() -> None:
    assert set(PARAMS) == set(CHECKS)


def test_a_rubric_without_criteria_is_allowed_and_noted() -> None:
    rubric = read_rubric("name: blank\ncategories: {}\ncriteria: []", "r")
    assert rubric_notes(rubric) == ["the rubric has no criteria yet, so nothing can be judged"]


def test_notes_count_the_examples_of_file_and_store_together() -> None:
    rubric = read_rubric(GOOD, "r")
    assert rubric_notes(rubric) == ["U1 has 1 example; 3 or more help", "S1 has 0 examples; 3 or more help"]
    extra = [("U1", EXAMPLE)] * 2 + [("S1", EXAMPLE)] * 9
    assert rubric_notes(rubric, extra) == ["S1 has 9 examples; more than 8 cost much and add little"]


def test_notes_name_a_length_ratio_without_question_and_idle_categories() -> None:
    text = GOOD.replace("check: formulaic_openers, params: {share: 0.5}", "check: length_ratio").replace(
        "  safety: {weight: 0}", "  safety: {weight: 0}\n  idle: {weight: 0}"
    )
    notes = rubric_notes(read_rubric(text, "r"), [("U1", EXAMPLE)] * 3 + [("S1", EXAMPLE)] * 3)
    assert notes == [
        "T2 has no question, so lengths between good and bad count as NA",
        "category idle has no criteria",
    ]


def test_examples_from_the_store_join_those_of_the_file_once() -> None:
    rubric = read_rubric(GOOD, "r")
    own = rubric.criteria[0].examples[0]
    joined = with_examples(rubric, [("U1", EXAMPLE), ("U1", own), ("U1", EXAMPLE), ("gone", EXAMPLE)])
    assert joined.criteria[0].examples == (own, EXAMPLE)
    assert joined.criteria[1:] == rubric.criteria[1:]
    assert rubric.criteria[0].examples == (own,)
    assert with_examples(rubric, []) == rubric


def test_a_rubric_of_17_kb_is_read_well_below_50_ms() -> None:
    criterion = GOOD[GOOD.index("  - id: U1") : GOOD.index("  - {id: T2")]
    text, n = GOOD, 2
    while len(text) < 17_000:
        text += criterion.replace("id: U1", f"id: U{n}")
        n += 1
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        assert isinstance(read_rubric(text, "r"), Rubric)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.04
