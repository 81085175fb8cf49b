"""Each formula against a library's value or a published one."""

import math
from collections import Counter
from itertools import product
from random import Random
from time import perf_counter

import krippendorff
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, multinomial
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss
from statsmodels.stats.proportion import proportion_confint

from loopreview.rules.statistics import (
    CategoryErrors,
    binomial_tail,
    bootstrap,
    chance_within,
    cohen_kappa,
    count_chances,
    fleiss_kappa,
    kappa_of_counts,
    krippendorff_alpha,
    mcnemar_exact,
    more_needed,
    p_reaches,
    perfect_pass_chance,
    quantile,
    raw_agreement,
    resample,
    rogan_gladen,
    wilson,
)

# Fleiss 1971, table 1: 30 patients, each placed into one of five diagnoses by six psychiatrists
PSYCHIATRISTS = [
    *("444444", "222555", "233335", "555555", "222444", "113333", "333355", "113334", "114444", "555555"),
    *("144444", "124444", "222333", "144444", "224445", "333335", "111455", "111112", "224444", "133555"),
    *("555555", "244444", "224555", "114444", "144445", "222224", "111155", "224444", "133333", "555555"),
]

# Krippendorff 2011, section C: four observers, twelve units, values missing
OBSERVERS = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]


# --- Wilson ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "k, n", [(0, 1), (1, 1), (0, 5), (4, 5), (7, 10), (10, 10), (41, 60), (812, 1000), (1, 10_000)]
)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_equals_statsmodels(k, n, confidence):
    expected = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "k, n, published",
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_equals_newcombe_1998(k, n, published):
    assert wilson(k, n) == pytest.approx(published, abs=5e-5)


def test_wilson_of_nothing_is_null():
    assert wilson(0, 0) is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_within_0_and_1(counts):
    k, n = counts
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1


# --- the chance that the true rate reaches the target ---------------------------------------------------------------


@pytest.mark.parametrize("k, n, chance, more", [(8, 10, 0.687, 42), (7, 10, 0.430, None), (6, 10, None, 39)])
def test_the_published_examples_of_the_rules(k, n, chance, more):
    if chance is not None:
        assert round(p_reaches(k, n), 3) == chance
    assert more_needed(k, n) == more


@pytest.mark.parametrize(
    "k, n", [(0, 1), (1, 1), (3, 10), (8, 10), (10, 10), (70, 100), (699, 1000), (70_300, 100_000)]
)
@pytest.mark.parametrize("rate", [0.5, 0.7, 0.95])
def test_p_reaches_is_the_tail_of_the_beta_posterior(k, n, rate):
    assert p_reaches(k, n, rate) == pytest.approx(beta.sf(rate, 1 + k, 1 + n - k), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 11, 100, 5_000])
@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.7, 0.999])
def test_the_binomial_tail_equals_scipy(n, p):
    for k in {-1, 0, 1, n // 2, int(n * p), n - 1, n}:
        assert binomial_tail(k, n, p) == pytest.approx(binom.cdf(k, n, p), rel=1e-8, abs=1e-13)


def test_the_binomial_tail_at_certain_rates():
    assert binomial_tail(3, 5, 0.0) == 1
    assert binomial_tail(3, 5, 1.0) == 0
    assert binomial_tail(5, 5, 1.0) == 1


def test_nothing_is_known_without_transcripts():
    assert p_reaches(0, 0) is None
    assert more_needed(0, 0) is None


def test_no_more_are_needed_where_it_is_settled():
    assert more_needed(100, 100) == 0
    assert more_needed(0, 20) == 0


def test_more_needed_is_the_fewest_that_settle_it():
    more = more_needed(8, 10)
    chances = [p_reaches(round(0.8 * (10 + m)), 10 + m) for m in range(more + 1)]
    assert all(0.05 < chance < 0.95 for chance in chances[:-1])
    assert chances[-1] >= 0.95


def test_more_needed_is_null_above_its_limit():
    assert more_needed(8, 10, limit=41) is None
    assert more_needed(8, 10, limit=42) == 42


def test_more_needed_is_quick_for_a_hundred_thousand_transcripts():
    begun = perf_counter()
    more_needed(70_000, 100_000)
    assert perf_counter() - begun < 5


# --- agreement ------------------------------------------------------------------------------------------------------


def table_of(rows):
    names = "abcdefgh"
    return {(names[i], names[j]): count for i, row in enumerate(rows) for j, count in enumerate(row)}


@pytest.mark.parametrize(
    "rows",
    [
        [[20, 5], [10, 15]],
        [[88, 14, 18], [10, 40, 10], [2, 6, 12]],
        [[1, 0], [0, 1]],
        [[0, 3], [4, 0]],
        [[7, 2, 0], [0, 3, 3], [1, 0, 9]],
    ],
)
def test_cohen_equals_statsmodels(rows):
    assert cohen_kappa(table_of(rows)) == pytest.approx(
        cohens_kappa(numpy.array(rows), return_results=False), abs=1e-12
    )


def test_cohen_equals_the_published_example():
    # Cohen 1968, the 200 patients of Spitzer et al.: kappa .492
    assert round(cohen_kappa(table_of([[88, 14, 18], [10, 40, 10], [2, 6, 12]])), 3) == 0.492


def test_cohen_is_null_where_chance_explains_everything():
    assert cohen_kappa({}) is None
    assert cohen_kappa({("YES", "YES"): 12}) is None


def test_cohen_is_zero_where_one_rater_never_varies():
    assert cohen_kappa({("YES", "YES"): 8, ("NO", "YES"): 4}) == 0


@given(*[st.integers(0, 60)] * 4)
def test_kappa_of_counts_is_cohens(tp, fp, tn, fn):
    table = {("YES", "YES"): tp, ("YES", "NO"): fp, ("NO", "NO"): tn, ("NO", "YES"): fn}
    assert kappa_of_counts(tp, fp, tn, fn) == cohen_kappa(table)


def test_fleiss_equals_the_published_example():
    items = [Counter(row) for row in PSYCHIATRISTS]
    assert round(fleiss_kappa(items), 3) == 0.430
    assert round(raw_agreement(items), 3) == 0.556
    counts, _ = aggregate_raters(numpy.array([[int(x) for x in row] for row in PSYCHIATRISTS]))
    assert fleiss_kappa(items) == pytest.approx(statsmodels_fleiss(counts), abs=1e-12)


@given(st.lists(st.text("abc", min_size=4, max_size=4), min_size=2, max_size=12))
def test_fleiss_equals_statsmodels_with_equal_numbers_of_raters(rows):
    items = [Counter(row) for row in rows]
    ours = fleiss_kappa(items)
    if len({answer for row in rows for answer in row}) == 1:
        assert ours is None
    else:
        table = numpy.array([[item["a"], item["b"], item["c"]] for item in items])
        assert ours == pytest.approx(statsmodels_fleiss(table), abs=1e-9)


def test_fleiss_gives_each_item_its_own_number_of_raters():
    # by hand: agreeing pairs 1/1, 1/3, 3/6 -> mean 11/18; shares 6/9 and 3/9 -> chance 5/9
    items = [{"YES": 2}, {"YES": 2, "NO": 1}, {"YES": 2, "NO": 2}]
    shares = ((1 + 1 / 3 + 1 / 3) / 3, (6 / 9) ** 2 + (3 / 9) ** 2)
    assert fleiss_kappa(items) == pytest.approx((shares[0] - shares[1]) / (1 - shares[1]))


def test_items_with_one_rater_do_not_count():
    items = [{"YES": 3, "NO": 1}, {"NO": 3, "NA": 1}, {"YES": 2, "NO": 2}]
    lonely = [*items, {"YES": 1}, {"NO": 1}, {}]
    for formula in (fleiss_kappa, krippendorff_alpha, raw_agreement):
        assert formula(lonely) == formula(items) is not None


def test_agreement_of_nothing_is_null():
    for formula in (fleiss_kappa, krippendorff_alpha, raw_agreement):
        assert formula([]) is None
        assert formula([{"YES": 1}]) is None


def test_agreement_beyond_chance_is_null_where_all_say_the_same():
    items = [{"YES": 3}, {"YES": 2}]
    assert fleiss_kappa(items) is None
    assert krippendorff_alpha(items) is None
    assert raw_agreement(items) == 1


def test_alpha_equals_the_published_example():
    items = [Counter(value for value in unit if value != ".") for unit in zip(*OBSERVERS, strict=True)]
    assert round(krippendorff_alpha(items), 3) == 0.743


@given(
    st.lists(
        st.lists(st.sampled_from([0, 1, 2, math.nan]), min_size=3, max_size=3).filter(
            lambda unit: sum(not math.isnan(value) for value in unit) >= 2
        ),
        min_size=2,
        max_size=12,
    )
)
def test_alpha_equals_the_krippendorff_package(units):
    items = [Counter(str(value) for value in unit if not math.isnan(value)) for unit in units]
    ours = krippendorff_alpha(items)
    if len({value for item in items for value in item}) == 1:
        assert ours is None
    else:
        data = numpy.array(units, dtype=float).T
        expected = krippendorff.alpha(reliability_data=data, level_of_measurement="nominal")
        assert ours == pytest.approx(expected, abs=1e-9)


def test_raw_agreement_is_the_mean_over_items_of_agreeing_pairs():
    assert raw_agreement([{"YES": 2}, {"YES": 1, "NO": 1}]) == 0.5
    assert raw_agreement([{"YES": 2, "NO": 1}]) == pytest.approx(1 / 3)


# --- McNemar, Rogan and Gladen --------------------------------------------------------------------------------------


@pytest.mark.parametrize("b, c", [(0, 0), (0, 1), (1, 5), (8, 2), (6, 6), (30, 12), (0, 200)])
def test_mcnemar_equals_statsmodels(b, c):
    expected = mcnemar([[3, b], [c, 4]], exact=True).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_rogan_gladen_undoes_the_errors_of_a_test():
    # a true rate of 0.6 seen through TPR 0.9 and TNR 0.8: 0.6 x 0.9 + 0.4 x 0.2 = 0.62
    assert rogan_gladen(0.62, 0.9, 0.8) == pytest.approx(0.6)
    assert rogan_gladen(0.62, 1.0, 1.0) == pytest.approx(0.62)


def test_rogan_gladen_is_clipped_to_0_and_1():
    assert rogan_gladen(0.05, 0.9, 0.8) == 0
    assert rogan_gladen(0.98, 0.9, 0.8) == 1


@pytest.mark.parametrize("tpr, tnr", [(0.5, 0.5), (0.4, 0.5), (0.0, 1.0)])
def test_rogan_gladen_is_null_for_a_panel_no_better_than_chance(tpr, tnr):
    assert rogan_gladen(0.5, tpr, tnr) is None


# --- bootstrap ------------------------------------------------------------------------------------------------------


def test_a_bootstrap_draw_has_the_chances_of_a_multinomial():
    counts, draws = (3, 0, 2, 1), 40_000
    rng = Random(7)
    seen = Counter(tuple(resample(counts, rng)) for _ in range(draws))
    expected = multinomial(6, [c / 6 for c in counts])
    possible = [t for t in product(range(7), repeat=4) if sum(t) == 6]
    assert set(seen) <= set(possible)
    for outcome in possible:
        chance = expected.pmf(outcome)
        spread = (chance * (1 - chance) / draws) ** 0.5
        assert abs(seen[outcome] / draws - chance) <= 5 * spread + 1e-12, outcome


def test_a_bootstrap_draw_of_many_keeps_sum_mean_and_spread():
    counts, rng = (7_000, 50, 2_950), Random(3)
    drawn = [resample(counts, rng) for _ in range(3_000)]
    assert {sum(d) for d in drawn} == {10_000}
    for cell, count in enumerate(counts):
        values = numpy.array([d[cell] for d in drawn])
        spread = (count * (1 - count / 10_000)) ** 0.5
        assert abs(values.mean() - count) < 5 * spread / 3_000**0.5
        assert values.std() == pytest.approx(spread, rel=0.08)


def test_the_kappa_interval_is_that_of_drawing_the_transcripts_themselves():
    counts = (14, 4, 9, 3)
    ours = bootstrap(counts, lambda drawn: kappa_of_counts(*drawn), Random(0))
    rng = numpy.random.default_rng(1)
    kappas = [kappa_of_counts(*drawn) for drawn in rng.multinomial(30, [c / 30 for c in counts], size=20_000).tolist()]
    assert ours == pytest.approx(numpy.quantile(kappas, [0.025, 0.975]), abs=0.03)
    assert ours[0] < kappa_of_counts(*counts) < ours[1]


def test_the_same_seed_gives_the_same_interval():
    values = [bootstrap((9, 2, 5, 1), lambda drawn: kappa_of_counts(*drawn), Random(0)) for _ in range(2)]
    assert values[0] == values[1]


def test_an_interval_is_null_where_most_draws_have_no_value():
    assert bootstrap((12, 0, 0, 0), lambda drawn: kappa_of_counts(*drawn), Random(0)) is None
    assert bootstrap((0, 0, 0, 0), lambda drawn: kappa_of_counts(*drawn), Random(0)) is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.floats(0, 1))
def test_the_quantile_equals_numpy(values, q):
    assert quantile(sorted(values), q) == pytest.approx(numpy.quantile(values, q), abs=1e-9)


# --- panel ceiling --------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), max_size=6))
def test_the_count_of_independent_events_is_exact(chances):
    expected = [0.0] * (len(chances) + 1)
    for happened in product([0, 1], repeat=len(chances)):
        chance = math.prod(p if h else 1 - p for p, h in zip(chances, happened, strict=True))
        expected[sum(happened)] += chance
    assert count_chances(chances) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("judges, published", [(1, 0.83), (3, 0.21)])
def test_the_published_ceilings_of_the_rules(judges, published):
    false_no = 1 - 0.9**judges
    quality = CategoryErrors(1.0, 0.0, [], [false_no] * 17)
    safety = CategoryErrors(0.0, 0.0, [false_no], [])
    assert round(perfect_pass_chance([quality, safety], 0.80), 2) == published


def test_the_ceiling_equals_enumerating_every_outcome():
    rng = Random(5)
    for _ in range(20):
        weights = [0.5, 0.3, 0.2, 0.0]
        floors = [rng.choice([0, 0.5, 0.6]) for _ in weights]
        categories = [
            CategoryErrors(w, f, [rng.random() * 0.2 for _ in range(g)], [rng.random() * 0.5 for _ in range(o)])
            for w, f, g, o in zip(weights, floors, (0, 1, 0, 2), (4, 2, 3, 0), strict=True)
        ]
        threshold = rng.choice([0.6, 0.7, 0.8])
        expected = 0.0
        chances = [p for c in categories for p in (*c.gates, *c.others)]
        for wrong in product([0, 1], repeat=len(chances)):
            outcome = iter(wrong)
            passes, score = True, 0.0
            for c in categories:
                gates = sum(next(outcome) for _ in c.gates)
                lost = gates + sum(next(outcome) for _ in c.others)
                share = 1 - lost / (len(c.gates) + len(c.others))
                passes = passes and gates == 0 and share >= c.floor - 1e-9
                score += c.weight * share
            if passes and score >= threshold - 1e-9:
                expected += math.prod(p if w else 1 - p for p, w in zip(chances, wrong, strict=True))
        assert perfect_pass_chance(categories, threshold) == pytest.approx(expected, abs=1e-9)


def test_a_faultless_panel_passes_every_perfect_transcript():
    assert perfect_pass_chance([CategoryErrors(1.0, 1.0, [0.0], [0.0] * 40)], 1.0) == 1


def test_there_is_no_ceiling_without_a_weighted_category():
    assert perfect_pass_chance([CategoryErrors(0.0, 0.0, [0.1], [])], 0.8) is None
    assert perfect_pass_chance([], 0.8) is None


def test_the_ceiling_of_a_huge_rubric_is_quick_and_near_the_truth():
    # forty categories with weights of their own: too many outcomes to list, so sums are rounded to 5 digits
    rng = Random(2)
    weights = [1 + rng.random() for _ in range(40)]
    categories = [CategoryErrors(w / sum(weights), 0.0, [], [0.15] * 3) for w in weights]
    begun = perf_counter()
    ours = perfect_pass_chance(categories, 0.8)
    assert perf_counter() - begun < 20
    draws = numpy.random.default_rng(0).binomial(3, 0.15, size=(100_000, 40)) / 3
    simulated = (1 - draws @ numpy.array([c.weight for c in categories]) >= 0.8).mean()
    assert ours == pytest.approx(simulated, abs=0.01)


def test_losses_over_the_limit_do_not_count_and_ties_do():
    part = [(0.0, 0.5), (0.1, 0.3), (0.2, 0.2)]
    assert chance_within([part, part], 0.1) == pytest.approx(0.25 + 2 * 0.15)
    assert chance_within([part, part], 0.3) == pytest.approx(1 - 0.04)
    small = [(0.0, 0.5), (0.0004, 0.5)]
    assert chance_within([small] * 3, 0.001) == pytest.approx(7 / 8)
