"""Frames: from rows to numbers by network.

Numbers that differ in an optional column stay apart, and the column stands in the
frame. `where` gives such columns one value, or a tuple of some; `None` is for rows
without the column, `...` for rows with it:

    frame(rows, "distance", pair="copies")
    summary(rows, "instability", split="test", alpha=None)
"""

from typing import Any

import pandas as pd

from lth_jax.intervals import interval as interval
from lth_jax.numbers.rows import (
    DIVERGED,
    NETWORK,
    TRAINING,
    Rows,
    by_replicate,
    extras,
    select,
    tidy,
)
from lth_jax.numbers.titles import main, unit

# Their rewind step is where they or their tickets are rewound to.
_OWN = ("ticket", "dense", "admm", "fine_tune", "fine_tune_small", "long")
COSTS = ("multiply_adds_to_find", "multiply_adds_to_train")
COSTS_AS_DENSE = tuple(f"dense_{cost}" for cost in COSTS)


def frame(rows: Rows, measure: str, **where: Any) -> pd.DataFrame:
    """Return a measure at the end of every training, one row a replicate.

    Copies of a replicate, and pairs of copies, are averaged. A training that has not
    come as far as others of its branch is on its way, and left out; so is what ADMM
    trains before it prunes. `density` is that of the level's ticket.

    Columns: run, setting, rewind_step, level, branch, replicate, optional ones,
    density, value.
    """
    found, everything = _ends(rows, measure, where), tidy(rows)
    keys = [*NETWORK, "replicate", *extras(found)]
    if found.empty:
        return pd.DataFrame(columns=[*keys, "density", "value"])
    means = found.groupby(keys, as_index=False, dropna=False)[["density", "value"]]
    means = means.mean()
    tickets = everything[everything["branch"].isin(["ticket", "dense"])]
    tickets = by_replicate(tickets)
    of_tickets = tickets.groupby([*TRAINING, "level"])["density"].mean()
    of_tickets = means[[*TRAINING, "level"]].join(of_tickets, on=[*TRAINING, "level"])
    return means.assign(density=of_tickets["density"].fillna(means["density"]))


def _ends(rows: Rows, measure: str, where: dict[str, Any]) -> pd.DataFrame:
    """Return a measure's rows at the ends of trainings that are done.

    A network with a row `steps_trained` ends there, others with their branch.
    """
    everything = tidy(rows)
    found = without_diverged(everything, select(everything, measure, **where))
    ends = everything[everything["measure"] == "steps_trained"]
    own = networks(found, "step").isin(networks(ends, "step"))
    own = pd.Series(own, found.index)
    keys = ["run", "branch", *extras(found)]
    last = found.groupby(keys, dropna=False)["step"].transform("max")
    return found[own | (found["step"] == last)]  # lengths of a branch may differ


def without_diverged(rows: Rows, found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a measure, without those of networks that diverged."""
    everything = tidy(rows)
    lost = everything[everything["measure"] == DIVERGED]
    return found[~networks(found).isin(networks(lost))]


def networks(rows: pd.DataFrame, *more: str) -> pd.MultiIndex:
    """Return of which network each of some rows is; and more columns of it."""
    return pd.MultiIndex.from_frame(rows[[*NETWORK, "replicate", "copy", *more]])


def summary(rows: Rows, measure: str, **where: Any) -> pd.DataFrame:
    """Return a measure by network: mean and standard deviation over n replicates.

    The deviation is that of a sample, NaN for one replicate.

    Columns: run, setting, rewind_step, level, branch, optional ones, density, mean,
    std, n.
    """
    numbers = frame(rows, measure, **where)
    return statistics(numbers, [*NETWORK, *extras(numbers)])


def samples(rows: Rows, measure: str, **where: Any) -> pd.DataFrame:
    """Return a comparison's statistics over all samples: pairs of copies, or dense."""
    found = _ends(rows, measure, where)
    return statistics(found, [*NETWORK, *extras(found)], "min", "max")


def statistics(numbers: pd.DataFrame, keys: list[str], *more: str) -> pd.DataFrame:
    """Return mean, std (of a sample), n and more of what shares `keys`."""
    asked = {name: ("value", name) for name in ("mean", "std", *more)}
    groups = numbers.groupby(keys, as_index=False, dropna=False)
    return groups.agg(density=("density", "mean"), **asked, n=("value", "count"))


def bill(
    rows: Rows, measure: str = "", *, dense: bool = False, **where: Any
) -> pd.DataFrame:
    """Return a measure by network, as `summary`, and the multiply-adds that it took.

    Weights that are pruned are not counted or, if `dense`, are: what hardware without
    sparsity computes. By default, the measure is the task's error on the test. Networks
    without these numbers are left out.

    Columns: those of `summary`; `find`, before the network's own training, until its
    masks and weights were known; `train`, in it; and `bill`, both. Means over
    replicates.
    """
    numbers = summary(rows, measure or main(rows), **where)
    for part, cost in zip(("find", "train"), COSTS_AS_DENSE if dense else COSTS):
        taken = summary(rows, cost).rename(columns={"mean": part})
        numbers = numbers.merge(taken[[*NETWORK, part]], on=NETWORK)
    return numbers.assign(bill=numbers["find"] + numbers["train"])


def matching(
    rows: Rows, measure: str = "", reference: str = "dense", **where: Any
) -> pd.DataFrame:
    """Return whether sparse networks match dense ones: replicates in pairs.

    Dense networks are those of a branch at level 0, of copy 0: "dense", which had one
    training, or "long", which had as many steps in all as fine-tuned weights. By
    default, the measure is what the task calls its error, on the test; of one that is
    better if it is lower, "below" is above.

    Columns: run, setting, rewind_step, level, branch, density; `difference` to the
    dense network of the same replicate, its mean over `n` replicates, and `std` (of a
    sample); and what the papers call a match, of the means:

    - `reaches_dense`: at least as high as dense (Frankle et al., 2019, Section 1);
    - `within_std`: at most one standard deviation of dense below it (Frankle et al.,
      2020, Section 4); None where one replicate leaves that unknown;
    - `within_0.2_points`: less than 0.2 points below it (Section 4.4 there), of shares;
    - `matches`: one of these.
    """
    measure = measure or main(rows)
    shown, found = unit(rows, measure), tidy(rows)
    found = found[(found["branch"] != "dense") | (found["copy"] == 0)]
    numbers = frame(found, measure, **where)
    of_dense = (numbers["branch"] == reference) & (numbers["rewind_step"] == 0)
    dense = numbers[(numbers["level"] == 0) & of_dense]
    shared = ["run", "setting", *extras(numbers)]
    paired = _subtract(numbers[numbers["level"] > 0], dense, [*shared, "replicate"])
    found = statistics(paired, [*NETWORK, *shared[2:]])
    found = found.rename(columns={"mean": "difference"})
    found["difference"] = found["difference"].round(9) + 0.0  # of equal means exactly 0
    spread = dense.groupby(shared, as_index=False, dropna=False)["value"].std()
    found = found.merge(spread.rename(columns={"value": "spread"}), on=shared)
    better = found["difference"] * (1 if shown.higher_is_better else -1)
    found["reaches_dense"] = better >= 0
    within_std = better >= -found["spread"]
    found["within_std"] = within_std.where(found["spread"].notna(), None)
    near = shown.factor * better > -0.2
    found["within_0.2_points"] = near & (shown.name == "%")
    found["matches"] = found["reaches_dense"] | within_std | found["within_0.2_points"]
    return found.drop(columns="spread")


def differences(
    rows: Rows, branch: str, other: str, measure: str = "", **where: Any
) -> pd.DataFrame:
    """Return how much more a branch has than another one: replicates in pairs.

    By default, of what the task calls its error, on the test. What is trained once for
    all rewind steps is compared at every one.

    Columns: run, setting, rewind_step, level, optional ones, density, mean, std (of a
    sample), n.
    """
    numbers = at_every_step(rows, frame(rows, measure or main(rows), **where))
    keys = [*TRAINING, "level", *extras(numbers)]
    one, two = (numbers[numbers["branch"] == name] for name in (branch, other))
    return statistics(_subtract(one, two, [*keys, "replicate"]), keys)


def at_every_step(rows: Rows, numbers: pd.DataFrame) -> pd.DataFrame:
    """Return numbers by network, those of step 0 at every rewind step of tickets.

    They are of branches that a run has trained for its first rewind step alone, where
    it has tickets of several: it is the same network whatever that step. Those that go
    on from trained weights stay where they are.
    """
    # Of what diverged, too: its numbers are missing, and not those of another step.
    steps = tidy(rows)[["run", "branch", "rewind_step"]].drop_duplicates()
    tickets = steps[steps["branch"] == "ticket"]
    first, last = (tickets.groupby("run")["rewind_step"].agg(x) for x in ("min", "max"))
    own = steps.groupby(["run", "branch"])["rewind_step"].max()
    once = [
        branch not in _OWN and own[run, branch] == first.get(run) != last[run]
        for run, branch in zip(numbers["run"], numbers["branch"])
    ]
    if not any(once):
        return numbers
    again = numbers[once].drop(columns="rewind_step")
    again = again.merge(tickets[["run", "rewind_step"]], on="run")
    kept = numbers[[not x for x in once]]
    return pd.concat([kept, again[numbers.columns]])


def _subtract(one: pd.DataFrame, two: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return one frame with its `value` less that of the other, paired by keys."""
    paired = one.merge(two[[*keys, "value"]], on=keys, suffixes=("", "_other"))
    return paired.assign(value=paired["value"] - paired.pop("value_other"))


def pairs(rows: Rows) -> list[str]:
    """Return of what pairs of networks `overlaps` has numbers, as `start_to_end`."""
    found = select(rows, "overlap", pair=..., p=..., layer=None)
    its = found["pair"].unique() if len(found) else []
    return [*dict.fromkeys("start_to_end" if p == "rewound_to_end" else p for p in its)]


def overlaps(rows: Rows, pair: str) -> pd.DataFrame:
    """Return the summary of R_p (Liu et al., 2021) of a pair, and what chance gives."""
    # Dense networks after step `other`, and at the end, stand with the whole training.
    both = (pair, "rewound_to_end") if pair == "start_to_end" else pair
    where = {"pair": both, "p": ..., "layer": None}
    keys = [*NETWORK, "pair", "other", "p"]
    numbers = summary(rows, "overlap", **where)
    numbers = numbers.reindex(columns=[*keys, "density", "mean", "std", "n"])
    chance = summary(rows, "chance_overlap", **where).rename(columns={"mean": "chance"})
    return numbers.merge(chance.reindex(columns=[*keys, "chance"]), on=keys, how="left")
