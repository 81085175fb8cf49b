"""Agreement in words: who is wrong, or what is missing."""

import pytest

from loopreview.models.rubric import Category, Criterion, Rubric
from loopreview.rules.agreement import MERGED, HumanRow, JudgeRow
from loopreview.rules.diagnosis import diagnose
from loopreview.rules.statistics import kappa_of_counts

RUBRIC = Rubric(
    name="r", categories={"a": Category(weight=1)}, criteria=(Criterion(id="A1", name="A", category="a", question="?"),)
)


def row(tp: int, fp: int, tn: int, fn: int, backend: str = MERGED, population: str = "fresh") -> JudgeRow:
    n = tp + fp + tn + fn
    return JudgeRow(
        criterion="A1", backend=backend, population=population, n=n, tp=tp, fp=fp, tn=tn, fn=fn, na=0, tpr=None,
        tnr=None, precision=None, kappa=kappa_of_counts(tp, fp, tn, fn), raw=(tp + tn) / n if n else None,
        prevalence=None, ns={}, intervals={},
    )  # fmt: skip


def people(kappa: float, items: int = 30) -> HumanRow:
    return HumanRow(criterion="A1", items=items, reviewers=2, names=("a", "b"), kappa=kappa, alpha=kappa, raw=0.7)


def finding(judges, humans=(), needed=20):
    (only,) = diagnose(RUBRIC, judges, humans, labels_needed=needed)
    return only


def test_without_labels_it_says_how_many_are_missing():
    assert (finding([]).finding, finding([]).more_labels) == ("too few labels", 20)
    assert finding([row(5, 1, 5, 1)]).more_labels == 8


def test_only_fresh_labels_count():
    assert finding([row(20, 0, 20, 0, population="seen")]).finding == "too few labels"


def test_good_agreement_is_fine():
    assert finding([row(15, 1, 14, 1)]).finding == "fine"


def test_nearly_one_sided_labels_are_fine_where_raw_agreement_is_high():
    assert finding([row(39, 1, 0, 0)]).finding == "fine"


@pytest.mark.parametrize(
    ("counts", "word"), [((10, 2, 8, 10), "too strict"), ((10, 10, 8, 2), "too lenient"), ((8, 6, 8, 6), "both ways")]
)
def test_a_wrong_panel_is_named_with_its_direction_and_its_worst_judge(counts, word):
    said = finding([row(*counts), row(14, 2, 12, 2, backend="good"), row(5, 10, 5, 10, backend="bad")])
    assert said.finding == "judge wrong" and word in said.why and "bad" in said.why


def test_people_who_disagree_mean_that_the_rubric_is_unclear_whatever_the_judges_do():
    assert finding([row(10, 2, 8, 10)], [people(0.3)]).finding == "rubric unclear"
    assert finding([row(10, 2, 8, 10)], [people(0.3, items=3)]).finding == "judge wrong"
    assert finding([row(10, 2, 8, 10)], [people(0.8)]).finding == "judge wrong"
