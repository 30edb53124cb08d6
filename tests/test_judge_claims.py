"""Claims: what rows say of masks, and how sure that is."""

import math

import numpy as np
import pytest
from scipy import stats

from lth_jax import evidence, judge
from lth_jax.judge import claims, page

MEMBER = {"rewind_step": 0, "copy": 0, "density": 0.1, "step": 10}


def rows(**reached):
    """Rows of what each branch reached, a number a seed, as shares."""
    return [
        {"replicate": i, "level": int(branch != "dense"), "branch": branch}
        | {"measure": "test_accuracy", "value": value}
        | MEMBER
        for branch, values in reached.items()
        for i, value in enumerate(values)
    ]


def found(margin=0.5, looks=(), **reached):
    return judge.verdict(rows(**reached), margin=margin, looks=looks).findings


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ([0.92, 0.93, 0.92, 0.93], "shown"),  # 2 points better
        ([0.901, 0.90, 0.899, 0.90], "refuted"),  # no different
        ([0.88, 0.87, 0.88, 0.87], "refuted"),  # worse
        ([0.91, 0.895, 0.905, 0.90], "not resolved"),
    ],
)
def test_masks_are_better_than_their_shuffle_where_the_interval_says_so(given, verdict):
    (finding,) = found(given=given, given_shuffled=[0.9] * 4).values()
    assert finding.verdict == verdict
    assert finding.mean == pytest.approx(100 * (np.mean(given) - 0.9))
    assert (finding.needed is None) == (verdict != "not resolved")


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ([0.898, 0.897, 0.898, 0.897], "shown"),  # 0.25 points below, of 0.5
        ([0.92, 0.93, 0.92, 0.93], "shown"),
        ([0.88, 0.87, 0.88, 0.87], "refuted"),
        ([0.895, 0.896, 0.894, 0.895], "not resolved"),
    ],
)
def test_masks_match_dense_where_they_are_not_worse_by_what_matters(given, verdict):
    (finding,) = found(given=given, dense=[0.9] * 4).values()
    assert finding.verdict == verdict


def test_a_verdict_says_in_words_how_masks_stand_to_each_trial():
    reached = {
        "given": [0.92, 0.93, 0.92, 0.93],
        "dense": [0.90, 0.91, 0.90, 0.92],
        "given_shuffled": [0.85, 0.861, 0.85, 0.86],
        "given_reinit": [0.919, 0.931, 0.921, 0.929],
        "given_random": [0.85, 0.86, 0.99, 0.93],
        "ticket": [0.95, 0.961, 0.95, 0.96],
    }
    assert page.sentences(judge.verdict(rows(**reached), margin=0.5)) == (
        "A matching ticket: +1.75 points (0.95 to 2.55) from dense. Better than its "
        "own shuffle. Not better by 0.5 points than its own reinitialisation. Worse by "
        "more than 0.5 points than magnitude pruning after training. Undecided whether "
        "better than a random mask."
    )


def test_rows_of_another_run_are_not_compared_with_the_judged():
    one = rows(given=[0.92, 0.93, 0.92], given_shuffled=[0.9] * 3)
    other = rows(given_shuffled=[0.2, 0.3, 0.9, 0.4])
    both = [row | {"run": "a"} for row in one] + [row | {"run": "b"} for row in other]
    alone, beside = (judge.verdict(r, margin=0.5).values for r in (one, both))
    assert alone == beside


def test_seeds_after_the_last_look_count_for_nothing():
    reached = {"given": [0.92, 0.93, 0.92], "given_shuffled": [0.9] * 3}
    more = {name: [*x, *[0.1 * len(name)] * 4] for name, x in reached.items()}
    assert found(looks=(2, 3), **reached) == found(looks=(2, 3), **more)


def test_differences_are_of_the_same_seeds():
    base = np.array([0.5, 0.7, 0.6, 0.8, 0.9])
    noise = np.array([0.001, -0.001, 0, 0.001, -0.001])
    (finding,) = found(given=base + 0.02 + noise, given_shuffled=base).values()
    assert finding.verdict == "shown"
    assert finding.mean == pytest.approx(2)
    assert finding.p_shown == evidence.over_looks(evidence.p_above(0.02 + noise), [5])


@pytest.mark.parametrize("n", [4, 5, 10])
def test_p_is_the_lesser_of_a_t_test_and_of_a_signed_rank_test(n):
    draw, lesser = np.random.default_rng(n), set()
    for _ in range(50):
        values = draw.standard_t(2, n) + 0.5
        of_t = stats.ttest_1samp(values, 0.25, alternative="greater").pvalue
        ranked = stats.wilcoxon(values - 0.25, alternative="greater", method="exact")
        both = of_t, ranked.pvalue
        least = min(both) if values.mean() > 0.25 else max(0.5, min(both))
        assert evidence.p_above(values, 0.25) == pytest.approx(least)
        lesser.add(both.index(min(both)))
    assert lesser == {0, 1}


def test_sums_of_many_ranks_are_normal():
    values = np.random.default_rng(0).standard_cauchy(201) + 0.2
    ranked = stats.wilcoxon(values, alternative="greater", method="exact").pvalue
    assert evidence._of_ranks(values[None]) == pytest.approx(ranked, rel=0.02)


def test_of_equal_sizes_what_is_below_ranks_higher():
    """1, 2 and 3 of 4 ranks are above: 6 or more of 10 have 7 of 16 sums."""
    for values, p in {
        (1.0, 1.0, 1.0, -50.0): 7 / 16,
        (1.0, 0.0, 1.0, -50.0): 9 / 16,  # 2 and 3 are
        (1.0, 1.0, -1.0, 1.0, -50.0): 22 / 32,  # 1 to 3 are
    }.items():
        assert evidence._of_ranks(np.array([values])) == [p]


def test_what_the_mean_does_not_say_is_not_found():
    """Of 18 that are better and two that failed, the mean is below 0."""
    values = [*np.linspace(0.9, 1.1, 18), -20.0, -20.0]
    assert np.mean(values) < 0
    assert evidence._of_ranks(np.array([values])) < 0.01
    assert evidence.p_above(values) == pytest.approx(0.5, abs=0.3)
    assert evidence.p_above(values) >= 0.5
    (finding,) = claims.findings({"positions": values}, 0.5).values()
    assert finding.verdict == "not resolved"


@pytest.mark.parametrize("question", [*claims.QUESTIONS])
def test_nothing_is_both_shown_and_refuted_where_it_is_as_good(question):
    if claims.QUESTIONS[question].better:
        return  # a small difference can be above 0 and below the margin
    draw = np.random.default_rng(0)
    for _ in range(300):
        values = np.where(draw.random(40) < 0.15, -100.0, draw.normal(1, 0.1, 40))
        (finding,) = claims.findings({question: values}, 0.5).values()
        assert max(finding.p_shown, finding.p_refuted) >= 0.5


@pytest.mark.parametrize("n", [2, 3, 5])
def test_equal_differences_are_as_rare_as_their_signs(n):
    """Accuracies are whole numbers of examples: two that are equal are no wonder."""
    assert evidence.p_above([0.1] * n) == evidence.p_above([0.1] * n, -3.0) == 2.0**-n
    assert evidence.p_above([0.0] * n) == 1 - (n < 2)
    assert evidence.p_above([100 * (0.9 - 0.895)] * n, 0.5) == 1  # the margin itself
    assert evidence.needed([0.1] * n, 1.0, 0.025) is None


def test_a_seed_that_diverged_is_left_out():
    values = np.linspace(4, 5, 10)
    values[3] = math.nan
    for looks in ((), (10,), (5, 10)):
        (finding,) = claims.findings({"positions": values}, 0.5, looks).values()
        assert finding.verdict == "shown" and finding.n == 9
        assert finding.mean == pytest.approx(np.nanmean(values))
    run = rows(given=[0.9, 0.91, 0.92, 0.90], given_shuffled=[0.8, 0.82, 0.81, 0.8])
    (whole,) = judge.verdict(run, looks=(4,)).findings.values()
    (finding,) = judge.verdict(run[:1] + run[2:], looks=(4,)).findings.values()
    assert whole.n == 4 and finding.n == 3 and not math.isnan(finding.p_shown)
    alone = [row for row in run if row["replicate"] != 1]
    assert finding.mean == judge.verdict(alone).findings["positions"].mean


def test_one_network_that_failed_does_not_hide_what_all_say():
    below = [0.94, 0.95, 0.94, 0.93, 0.94, 0.77, 0.95, 0.94, 0.93, 0.94]
    (finding,) = found(given=below, dense=[0.98] * 10).values()
    assert finding.verdict == "refuted" and finding.high > -3
    alone = stats.ttest_1samp(np.subtract(below, 0.975), 0, alternative="less")
    assert alone.pvalue > finding.p_refuted


def test_p_is_adjusted_for_all_claims():
    given = [0.92, 0.93, 0.92, 0.94]
    alone = found(given=given, given_shuffled=[0.9] * 4)
    beside = found(given=given, given_shuffled=[0.9] * 4, given_random=[0.92] * 4)
    once = {name: f.p_shown for name, f in beside.items()}
    assert once["positions"] == pytest.approx(2 * alone["positions"].p_shown)
    assert evidence.holm([0.01, 0.04, math.nan, 0.03])[:2] == [0.03, 0.06]


def test_what_was_not_trained_is_not_asked_and_nothing_to_compare_is_an_error():
    assert [*found(given=[0.9, 0.8], dense=[0.9, 0.7])] == ["dense"]
    with pytest.raises(ValueError, match="nothing was trained beside 'given'"):
        judge.verdict(rows(given=[0.9, 0.8]))
    with pytest.raises(ValueError, match="there is no 'given'; branches are ticket"):
        judge.verdict(rows(ticket=[0.9, 0.8]))


def test_an_error_is_better_the_lower_it_is_and_needs_a_margin():
    errors = rows(given=[1.0, 1.1, 1.0], given_shuffled=[2.0, 2.1, 2.2])
    errors = [row | {"measure": "test_squared_error"} for row in errors]
    frame = claims.tidy(errors)
    units = {"squared_error": ["", 1.0, False]}
    frame.attrs["task"] = {"error": "squared_error", "units": units}
    with pytest.raises(ValueError, match="margin: say which difference"):
        judge.verdict(frame)
    (finding,) = judge.verdict(frame, margin=0.1).findings.values()
    assert finding.verdict == "shown"
    assert finding.mean == pytest.approx(1.0666667)


def test_tickets_of_any_run_can_be_asked():
    run = rows(ticket=[0.9, 0.91, 0.92], shuffled_mask=[0.8, 0.82, 0.81])
    (finding,) = judge.verdict(run, judged="ticket").findings.values()
    assert finding.verdict == "shown"


def test_one_seed_resolves_nothing():
    (finding,) = found(given=[0.9], given_shuffled=[0.1]).values()
    assert str(finding) == "beats its own shuffle: not resolved: needs more seeds"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judged": "foo"}, "judged: 'foo' is not one of given, ticket"),
        ({"level": 7}, "level: 'given' was trained at 1, and not at 7"),
        ({"bogus": 3}, "where: bogus: no column to choose by"),
        ({"looks": (1, 5)}, r"looks: \[1, 5\] do not rise from 2"),
        ({"looks": (5, 3)}, r"looks: \[5, 3\] do not rise from 2"),
        ({"margin": math.nan}, "margin: say which difference"),
        ({"margin": math.inf}, "margin: say which difference"),
        ({"margin": 0.0}, "margin: say which difference"),
    ],
)
def test_wrong_arguments_get_one_line(options, said):
    run = rows(given=[0.9, 0.91], given_shuffled=[0.8, 0.82], dense=[0.9, 0.92])
    with pytest.raises(ValueError, match=f"^{said}"):
        judge.verdict(run, **options)


@pytest.mark.parametrize("looks", [(6,), (5, 8, 12)])
def test_what_does_not_hold_is_shown_no_more_often_than_said(looks):
    draw, n = np.random.default_rng(0), 4000
    numbers = draw.standard_normal((n, looks[-1]))
    p = [min(evidence.p_above(x[:k]) for k in looks) for x in numbers]
    wrong = np.mean([evidence.over_looks(x, looks) <= 0.025 for x in p])
    assert abs(wrong - 0.025) < 4 * math.sqrt(0.025 * 0.975 / n)


@pytest.mark.parametrize(
    ("n", "by_t", "by_both"), [(10, 1 / 3, 1 / 3), (20, 1 / 8, 0.5)]
)
def test_where_some_seeds_fail_too_much_is_found_as_the_docs_say(n, by_t, by_both):
    draw = np.random.default_rng(0)
    failed = draw.random((4000, n)) < 0.1
    differences = draw.standard_normal((4000, n)) + 2 - 20 * failed  # 0 in the mean
    p = [evidence.over_looks(x, [n]) for x in evidence._p(differences)]
    assert np.mean(np.array(p) <= 0.025) == pytest.approx(by_both, abs=0.04)
    of_t = stats.ttest_1samp(differences, 0, axis=1, alternative="greater").pvalue
    assert np.mean(of_t <= 0.025) == pytest.approx(by_t, abs=0.02)


def test_looking_twice_without_saying_so_shows_more():
    draw, looks = np.random.default_rng(0), (5, 8, 12)
    numbers = draw.standard_normal((4000, 12))
    p = [min(evidence.p_above(x[:k]) for k in looks) for x in numbers]
    assert np.mean(np.array(p) <= 0.025) > 0.04


def test_looks_beyond_the_numbers_are_still_to_come():
    given, other = [0.92, 0.93, 0.92], [0.90, 0.90, 0.91]
    once = found(given=given, given_shuffled=other, looks=(3,))
    planned = found(given=given, given_shuffled=other, looks=(3, 6))
    assert planned["positions"].p_shown > once["positions"].p_shown


@pytest.mark.parametrize("apart", [1.0, 0.5])
def test_as_many_seeds_as_needed_decide_with_the_power_said(apart):
    draw, n, decided = np.random.default_rng(1), 400, 0
    for _ in range(n):
        needed = evidence.needed(draw.standard_normal(5), apart, 0.005)
        values = apart + draw.standard_normal(needed or 1000)
        decided += evidence.p_above(values) <= 0.005
    assert decided / n >= 0.8


def test_how_many_seeds_is_said_for_the_difference_as_it_looks():
    """Of a difference at the bound, no number decides; of one at 0, none is near."""
    draw, open_ = np.random.default_rng(0), []
    for mean in (-0.5, -0.4, -0.1):
        values = draw.standard_normal(10)
        values = 0.5 * (values - values.mean()) / values.std(ddof=1) + mean
        open_.append(claims.findings({"dense": values}, 0.5)["dense"])
    assert [f.verdict for f in open_[:2]] == ["not resolved"] * 2
    at, near = open_[:2]
    assert at.likely == evidence.LARGEST + 1 and near.likely > 5 * near.needed
    assert at.seeds == f"needs about {at.needed} to more than 1,000"


def test_few_seeds_promise_less_than_many_of_the_same_spread():
    few, many = [0.0, 2.0], [0.0, 2.0] * 10
    assert evidence.needed(few, 1.0, 0.025) > evidence.needed(many, 1.0, 0.025)
    assert evidence.needed([1.0, 1.0], 1.0, 0.025) is None
