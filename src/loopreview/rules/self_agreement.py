"""How far reviewers agree with themselves, from hidden repeats. Apart from repeats.py, which every start needs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from loopreview.models.rubric import Rubric
from loopreview.rules.agreement import HumanRow
from loopreview.rules.review import TranscriptReview
from loopreview.rules.statistics import cohen_kappa, krippendorff_alpha, raw_agreement


def repeat_rows(rubric: Rubric, reviews: Iterable[TranscriptReview]) -> list[HumanRow]:
    """How far each reviewer agrees with themselves, by criterion in rubric order, one reviewer per row; `kappa` is
    Cohen's between the first answer and the one of the repeat."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for review in reviews:
        for criterion, again in review.repeats.items():
            for reviewer, event in again.items():
                first = review.answers.get(criterion, {}).get(reviewer)
                if first is not None and first.answer and event.answer:
                    pairs.setdefault((criterion, reviewer), []).append((first.answer, event.answer))
    order = {criterion.id: place for place, criterion in enumerate(rubric.criteria)}
    return [
        _row(criterion, reviewer, pairs[criterion, reviewer])
        for criterion, reviewer in sorted(pairs, key=lambda key: (order.get(key[0], len(order)), key[1]))
        if criterion in order
    ]


def _row(criterion: str, reviewer: str, pairs: Sequence[tuple[str, str]]) -> HumanRow:
    items: list[Mapping[str, int]] = [Counter(pair) for pair in pairs]
    return HumanRow(
        criterion=criterion,
        items=len(pairs),
        reviewers=1,
        names=(reviewer,),
        kappa=cohen_kappa(Counter(pairs)),
        alpha=krippendorff_alpha(items),
        raw=raw_agreement(items),
    )
