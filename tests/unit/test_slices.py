"""Slices: where they are cut, and which fit."""

from itertools import pairwise
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from loopreview.rules.slices import fitting, longest, slice_points

GAP = (4, 8)
ids = st.builds("{}-{}".format, st.integers(1, 10_000), st.integers(1, 10_000))


@given(ids, st.integers(0, 200), st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda g: (g[0], g[0] + g[1])))
def test_points_begin_at_the_third_exchange_and_end_at_the_last(id: str, count: int, gap: tuple[int, int]) -> None:
    points = slice_points(id, count, gap)
    if count < 3:
        assert points == []
        return
    assert points[0] == 3 and points[-1] == count
    steps = [later - earlier for earlier, later in pairwise(points)]
    assert all(gap[0] <= step <= gap[1] for step in steps[:-1])
    assert all(1 <= step <= gap[1] for step in steps[-1:])


def test_a_transcript_has_its_points_by_its_id_alone() -> None:
    assert slice_points("6-1", 50, GAP) == slice_points("6-1", 50, GAP)
    assert len({tuple(slice_points(f"6-{n}", 50, GAP)) for n in range(20)}) > 15
    # a longer transcript of the same id goes on where a shorter one ends
    assert slice_points("6-1", 80, GAP)[:5] == slice_points("6-1", 50, GAP)[:5]


def test_the_draw_is_the_one_the_rules_name() -> None:
    # int(sha256("6-1")[:8], 16) seeds random.Random, whose first randint(4, 8) values are these
    from hashlib import sha256
    from random import Random

    draw = Random(int(sha256(b"6-1").hexdigest()[:8], 16))
    expected = [3]
    while (following := expected[-1] + draw.randint(4, 8)) < 30:
        expected.append(following)
    assert slice_points("6-1", 30, GAP) == [*expected, 30]


def test_fifty_exchanges_have_9_3_points_on_average() -> None:
    found = mean(len(slice_points(f"{batch}-{n}", 50, GAP)) for batch in range(1, 41) for n in range(1, 101))
    assert abs(found - 9.3) < 0.05


def test_short_ones() -> None:
    assert [slice_points("1-1", n, GAP) for n in range(5)] == [[], [], [], [3], [3, 4]]


def test_points_over_the_limit_are_left_out_and_the_last_exchange_that_fits_takes_their_place() -> None:
    tokens = [100 * n for n in range(1, 31)]
    found = fitting([3, 9, 15, 21, 27, 30], tokens, limit=2_000, smallest_gap=4)
    assert found.points == [3, 9, 15, 20]
    assert found.over == [21, 27, 30]


def test_it_takes_no_place_nearer_than_the_smallest_gap() -> None:
    tokens = [100 * n for n in range(1, 31)]
    assert fitting([3, 9, 15, 21], tokens, limit=1_800, smallest_gap=4).points == [3, 9, 15]
    assert fitting([3, 9, 15, 21], tokens, limit=1_900, smallest_gap=4).points == [3, 9, 15, 19]


def test_all_points_fit_or_none_does() -> None:
    assert fitting([3, 5], [1, 2, 3, 4, 5], 5, 4) == ([3, 5], [])
    assert fitting([3, 5], [9, 9, 9, 9, 9], 5, 4) == ([], [3, 5])
    # a prefix of less than three exchanges is no slice, though it would fit
    assert fitting([3, 5], [1, 5, 9, 9, 9], 5, 4) == ([], [3, 5])


@given(st.lists(st.integers(1, 400), min_size=3, max_size=80), st.integers(1, 9_000), ids)
def test_what_is_kept_fits_and_is_in_order(steps: list[int], limit: int, id: str) -> None:
    tokens = [sum(steps[: n + 1]) for n in range(len(steps))]
    points = slice_points(id, len(tokens), GAP)
    found = fitting(points, tokens, limit, GAP[0])
    assert all(tokens[point - 1] <= limit for point in found.points)
    assert found.points == sorted(set(found.points))
    assert set(points) - set(found.points) == set(found.over)
    assert len(set(found.points) - set(points)) <= 1
    last = longest(tokens, limit)
    if found.over and last is not None and last >= 3:
        # nothing that fits is wasted: what is behind the last slice is shorter than the smallest gap
        assert last - found.points[-1] < GAP[0]


def test_the_longest_prefix_that_fits_need_not_be_the_first_that_does_not() -> None:
    assert longest([1, 2, 3], 2) == 2
    assert longest([9, 2, 9, 3, 9], 4) == 4  # a template may drop what it showed before
    assert longest([9], 4) is None and longest([], 4) is None
