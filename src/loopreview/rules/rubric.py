"""Reading a rubric: the model, and what no single field can say."""

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from loopreview.models.rubric import CHECKS, Criterion, Example, Rubric
from loopreview.rules.checks import PARAMS
from loopreview.rules.documents import Document, DocumentError, Problem, nearest, problems_of, read_yaml

FEWEST_EXAMPLES, MOST_EXAMPLES = 3, 8


def read_rubric(text: str, where: str) -> Rubric:
    """The rubric in `text`; `where` is its file's name for messages. Raises DocumentError with every problem."""
    rubric, problems = _examine(text, where)
    if rubric is None or problems:
        raise DocumentError(where, problems)
    return rubric


def check_rubric(text: str, where: str = "rubric.yaml") -> list[Problem]:
    """Everything wrong with `text` at once, by line, for an editor; empty for a rubric that can be used."""
    return _examine(text, where)[1]


def rubric_notes(rubric: Rubric, extra_examples: Sequence[tuple[str, Example]] = ()) -> list[str]:
    """What is allowed but worth a look, a sentence each. `extra_examples`: (criterion id, example) kept elsewhere."""
    notes = [] if rubric.criteria else ["the rubric has no criteria yet, so nothing can be judged"]
    extra = Counter(id for id, _ in extra_examples)
    for criterion in rubric.criteria:
        if criterion.kind == "judged":
            n = len(criterion.examples) + extra[criterion.id]
            if n < FEWEST_EXAMPLES:
                notes.append(f"{criterion.id} has {n} example{'' if n == 1 else 's'}; {FEWEST_EXAMPLES} or more help")
            elif n > MOST_EXAMPLES:
                notes.append(f"{criterion.id} has {n} examples; more than {MOST_EXAMPLES} cost much and add little")
        elif criterion.check == "length_ratio" and not criterion.question.strip():
            notes.append(f"{criterion.id} has no question, so lengths between good and bad count as NA")
    for name, category in rubric.categories.items():
        members = [c for c in rubric.criteria if c.category == name]
        if not members:
            notes.append(f"category {name} has no criteria")
        elif category.weight == 0 and not all(c.gate for c in members):
            notes.append(f"category {name} weighs 0, so criteria in it that are no gate never change the score")
    return notes


def with_examples(rubric: Rubric, extra: Sequence[tuple[str, Example]]) -> Rubric:
    """The rubric with further examples, (criterion id, example), after those in the file; equal ones only once."""
    if not extra:
        return rubric
    criteria = []
    for criterion in rubric.criteria:
        added = tuple(example for id, example in extra if id == criterion.id)
        joined = tuple(dict.fromkeys(criterion.examples + added))
        criteria.append(criterion.model_copy(update={"examples": joined}) if added else criterion)
    return rubric.model_copy(update={"criteria": tuple(criteria)})


def _examine(text: str, where: str) -> tuple[Rubric | None, list[Problem]]:
    try:
        document = read_yaml(text, where)
    except DocumentError as error:
        return None, error.problems
    rubric, problems = None, []
    try:
        rubric = Rubric.model_validate(document.value)
    except ValidationError as error:
        problems = problems_of(error, document, model=Rubric)
    problems += _across(document)
    return rubric, sorted(problems, key=lambda p: (p.line, p.column))


def _across(document: Document) -> Iterator[Problem]:
    """What spans fields. Works on the plain values, so that one wrong field does not hide the rest."""
    value = document.value if isinstance(document.value, dict) else {}
    categories = value.get("categories")
    categories = categories if isinstance(categories, dict) else {}
    criteria = value.get("criteria")
    listed = [(i, c) for i, c in enumerate(criteria if isinstance(criteria, list) else []) if isinstance(c, dict)]
    yield from _weights(document, categories, [c for _, c in listed])
    first: dict[str, int] = {}
    for i, criterion in listed:
        id = criterion.get("id")
        if isinstance(id, str):
            if id in first:
                line = document.line("criteria", first[id], "id")
                yield document.problem(
                    ("criteria", i, "id"), f"the id {id} is here twice, first at line {line}; give each its own"
                )
            first.setdefault(id, i)
        category = criterion.get("category")
        if isinstance(category, str) and category not in categories:
            advice = nearest(category, list(categories), "the categories are")
            yield document.problem(
                ("criteria", i, "category"), f"category `{category}` of {id or f'item {i + 1}'} does not exist{advice}"
            )
        yield from _kind(document, i, criterion)


def _weights(document: Document, categories: dict[str, Any], criteria: list[dict[str, Any]]) -> Iterator[Problem]:
    weights = {
        name: weight
        for name, category in categories.items()
        if isinstance(category, dict) and (weight := _number(category.get("weight"))) is not None
    }
    if not categories or len(weights) < len(categories):
        return
    total = sum(weights.values())
    if abs(total - 1) > 1e-6:
        parts = " + ".join(f"{name} {weight:g}" for name, weight in weights.items())
        yield document.problem(("categories",), f"the weights of the categories sum to {total:.6g}, not 1 ({parts})")
    for name, weight in weights.items():
        members = [c for c in criteria if c.get("category") == name]
        if weight and members and all(_is_gate(c) for c in members):
            yield document.problem(
                ("categories", name, "weight"), f"category {name} is used by gate criteria alone, so it must weigh 0"
            )


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _is_gate(criterion: dict[str, Any]) -> bool:
    """`yes` and `on` are text in YAML 1.2, which the model takes as true."""
    return str(criterion.get("gate")).lower() in ("true", "yes", "on", "y", "t", "1")


def _kind(document: Document, i: int, criterion: dict[str, Any]) -> Iterator[Problem]:
    here: tuple[str | int, ...] = ("criteria", i)
    id = criterion.get("id") or f"item {i + 1}"
    kind, check, params = criterion.get("kind", "judged"), criterion.get("check"), criterion.get("params")
    if kind == "judged":
        misspelt = get_close_matches("question", [key for key in criterion if key not in Criterion.model_fields])
        if not misspelt and not str(criterion.get("question") or "").strip():
            yield document.problem((*here, "question"), f"{id} needs a `question` for the judges")
        for key in ("check", "params"):
            if criterion.get(key):
                yield document.problem((*here, key), f"`{key}` in {id} has no effect without `kind: check`")
    elif kind == "check":
        if check is None:
            yield document.problem((*here, "kind"), f"{id} needs `check:` with one of {', '.join(CHECKS)}")
        elif str(check) not in PARAMS:
            yield document.problem(
                (*here, "check"), f"unknown check `{check}` in {id}{nearest(str(check), CHECKS, 'the checks are')}"
            )
        elif params is None or isinstance(params, dict):
            try:
                PARAMS[str(check)].model_validate(params or {})
            except ValidationError as error:
                yield from problems_of(error, document, model=PARAMS[str(check)], root=(*here, "params"))
