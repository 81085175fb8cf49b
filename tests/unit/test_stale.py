from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loopreview.models.rubric import Criterion, Example
from loopreview.rules.stale import imported_key, shown_examples, verdict_key

WORDS = st.text(st.characters(codec="utf-8"), max_size=30)
EXAMPLES = st.builds(
    Example,
    label=st.sampled_from(["PASS", "FAIL"]),
    context=WORDS,
    response=WORDS,
    reasoning=WORDS,
    origin=st.sampled_from([None, "6-1", "6-2", "chat.json#12", "other.json#3"]),
)
CRITERIA = st.builds(
    Criterion,
    id=st.sampled_from(["U1", "T2", "S1"]),
    name=st.just("name"),
    category=st.just("c"),
    question=WORDS,
    na=st.sampled_from(["valid", "invalid"]),
    examples=st.lists(EXAMPLES, max_size=4).map(tuple),
)


def key(criterion: Criterion, transcript: str = "6-1", source: str | None = None, **other: str) -> str:
    given = {"transcript_hash": "h", "assessor_version": "a", "fingerprint": "f"} | other
    return verdict_key(criterion=criterion, shown=shown_examples(criterion, transcript, source), **given)


@given(st.lists(CRITERIA, min_size=2, max_size=5), st.data())
def test_editing_a_criterion_changes_its_key_and_no_other_and_reverting_restores_it(
    criteria: list[Criterion], data: st.DataObject
) -> None:
    before = [key(c) for c in criteria]
    i = data.draw(st.integers(0, len(criteria) - 1))
    c = criteria[i]
    shown = Example(label="PASS", response="a", reasoning="b", origin="9-9")
    edit: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {"question": c.question + "?"},
                {"na": "valid" if c.na == "invalid" else "invalid"},
                {"examples": (*c.examples, shown)},
            ]
        )
    )
    edited = [*criteria[:i], c.model_copy(update=edit), *criteria[i + 1 :]]
    after = [key(c) for c in edited]
    assert after[i] != before[i]
    assert after[:i] + after[i + 1 :] == before[:i] + before[i + 1 :]
    reverted = edited[i].model_copy(update={name: getattr(c, name) for name in edit})
    assert key(reverted) == before[i]


@given(CRITERIA)
def test_transcript_prompt_and_model_are_part_of_the_key(criterion: Criterion) -> None:
    keys = {key(criterion), key(criterion, transcript_hash="x"), key(criterion, assessor_version="x"),
            key(criterion, fingerprint="x")}  # fmt: skip
    assert len(keys) == 4


@given(CRITERIA)
def test_what_a_judge_is_not_asked_by_is_no_part_of_the_key(criterion: Criterion) -> None:
    renamed = criterion.model_copy(update={"name": "other", "category": "d", "gate": True, "min_exchanges": 3})
    assert key(renamed) == key(criterion)


@given(CRITERIA, st.sampled_from([("6-1", None), ("6-2", None), ("7-1", "chat.json#12"), ("7-2", "other.json#3")]))
def test_no_example_is_shown_to_a_judge_of_the_transcript_it_came_from(
    criterion: Criterion, where: tuple[str, str | None]
) -> None:
    transcript, source = where
    shown = shown_examples(criterion, transcript, source)
    assert not {e.origin for e in shown} & {transcript, source} - {None}
    assert [e for e in criterion.examples if e not in shown] == [
        e for e in criterion.examples if e.origin in {transcript, source} - {None}
    ]


def test_an_origin_by_record_or_file_alone_is_guarded_too() -> None:
    def of(origin: str | None) -> Criterion:
        example = Example(label="PASS", response="r", reasoning="w", origin=origin)
        return Criterion(id="A", name="a", category="c", question="q", examples=(example,))

    own: tuple[str | None, ...] = ("7-1", "chat.json#12", "12", "chat.json", " 7-1 ")
    for origin in own:
        assert shown_examples(of(origin), "7-1", "chat.json#12") == (), origin
    elsewhere: tuple[str | None, ...] = (None, "7-11", "chat.json#1", "1", "")
    for origin in elsewhere:
        assert len(shown_examples(of(origin), "7-1", "chat.json#12")) == 1, origin


def test_an_example_of_its_own_transcript_leaves_the_key_there_and_changes_it_elsewhere() -> None:
    bare = Criterion(id="A", name="a", category="c", question="q")
    taught = bare.model_copy(update={"examples": (Example(label="PASS", response="r", reasoning="w", origin="6-1"),)})
    assert key(taught, "6-1") == key(bare, "6-1")
    assert key(taught, "6-2") != key(bare, "6-2")


@given(CRITERIA, WORDS)
def test_an_imported_verdict_goes_stale_with_content_and_wording_alone(criterion: Criterion, question: str) -> None:
    own = imported_key("h", criterion, "gpt")
    assert imported_key("h", criterion.model_copy(update={"examples": ()}), "gpt") == own
    assert (imported_key("h", criterion.model_copy(update={"question": question}), "gpt") == own) == (
        question == criterion.question
    )
    assert len({own, imported_key("x", criterion, "gpt"), imported_key("h", criterion, "son"), key(criterion)}) == 4
