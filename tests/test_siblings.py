"""Siblings: replicates whose hidden units are in another order, compared and run."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from flax import linen as nn
from trees import assert_same

from lth_jax import config as config_lib
from lth_jax import demands, lottery, models, siblings, studies, symmetry
from lth_jax import masks as masks_lib
from lth_jax.report import figures, load
from lth_jax.tasks import Classification
from lth_jax.train import experiment
from lth_jax.train.state import TrainState
from lth_jax.workdir import Member


class Wide(models.Classifier):
    """A convolution to 8 units, and a batch normalisation."""

    @nn.compact
    def __call__(self, x, train):
        x = self.bound_conv()(8, (3, 3), name="conv")(x)
        x = nn.relu(self.bound_norm(train)(name="norm1")(x))
        return self.classify(x)


NETWORK = models.linen(Wide(num_classes=3))
EXAMPLE = jax.ShapeDtypeStruct((4, 4, 1), jnp.float32)
IMAGES = jnp.float32(np.random.default_rng(0).normal(size=(20, 4, 4, 1)))
DENSE = [Member(i, 0, 0, "dense", 0) for i in range(2)]
TICKETS = [Member(i, 0, 1, "ticket", 0) for i in range(2)]
GROUPS = symmetry.groups(NETWORK, EXAMPLE)
ORDER = {1: np.array([3, 0, 7, 1, 6, 2, 4, 5])}


def state(params, batch_stats, masks):
    fields = {field.name: None for field in dataclasses.fields(TrainState)}
    fields |= {"params": params, "batch_stats": batch_stats, "masks": masks}
    return TrainState(**fields)


@pytest.fixture(scope="module")
def run():
    """A run of two replicates, of which the second is the first, its units permuted."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(NETWORK.init, jax.random.key(0), IMAGES)
    params, stats = jax.tree.map(
        lambda x: jnp.float32(rng.uniform(0.5, 2, x.shape)), shapes
    )
    params["norm1"]["bias"] -= 1
    for layer in ("conv", "fc"):
        shape = params[layer]["kernel"].shape
        params[layer]["kernel"] = jnp.float32(rng.normal(size=shape))
    masks = jax.tree.map(
        lambda m: jnp.asarray(rng.uniform(size=m.shape) < 0.5), masks_lib.full(params)
    )
    first = state(params, stats, masks)
    second = state(
        symmetry.permute(params, ORDER, GROUPS.params),
        symmetry.permute(stats, ORDER, GROUPS.state),
        symmetry.permute(masks, ORDER, GROUPS.params),
    )

    @jax.jit
    def answers(params, stats):
        return NETWORK.apply(params, stats, IMAGES, train=False, key=None)[0]

    wanted = answers(first.params, first.batch_stats)

    def evaluate(networks):
        found = (answers(n.params, n.batch_stats) for n in networks)
        same = (abs(logits - wanted).max(-1) < 1e-3 for logits in found)
        return {"test": [{"accuracy": float(share.mean())} for share in same]}

    program = SimpleNamespace(
        task=Classification(),
        network=NETWORK,
        feed=SimpleNamespace(example=EXAMPLE),
    )
    networks = dict(zip(DENSE, (first, second)))
    kept = dict(zip(TICKETS, (first.masks, second.masks)))
    return SimpleNamespace(
        config=SimpleNamespace(study=SimpleNamespace(points=5)),
        plan=SimpleNamespace(dense=DENSE, length=9),
        experiment=SimpleNamespace(program=program),
        alignments={},
        groups=GROUPS,
        level=0,
        networks=networks,
        tickets=networks,
        dense=lambda member, step: networks[member.dense],
        masks=lambda member: kept.get(member.ticket),
        key=lambda member, *purposes: jax.random.key(member.replicate),
        evaluate=evaluate,
    )


def test_a_sibling_is_aligned_with_its_statistics(run):
    aligned = siblings.aligned(run, DENSE[0])
    assert_same(aligned.params, run.networks[DENSE[0]].params)
    assert_same(aligned.batch_stats, run.networks[DENSE[0]].batch_stats)
    assert list(run.alignments) == [DENSE[0]]


def test_moving_averages_are_aligned_where_there_are_some(run):
    (first, second), found = run.networks.values(), SimpleNamespace(**vars(run))
    zeros = jax.tree.map(jnp.zeros_like, second.params)
    average = {"params": second.params, "batch_stats": second.batch_stats}
    averaged = dataclasses.replace(second, params=zeros, average=average)
    found.networks = {DENSE[0]: first, DENSE[1]: averaged}
    found.dense = lambda member, step: found.networks[member]
    found.alignments = dict(run.alignments) or {DENSE[0]: symmetry.inverse(ORDER)}
    assert_same(siblings.aligned(found, DENSE[0]).params, first.params)


def test_between_permuted_copies_there_is_no_barrier_once_they_are_aligned(run):
    found = [*studies.alignment(run)]
    barriers = {
        (member, keys["pair"]): value
        for member, measure, value, keys in found
        if measure == "instability"
    }
    assert barriers[DENSE[0], "aligned"] == 0
    assert barriers[DENSE[0], "replicates"] > 0.05
    ways = {(m, k["pair"]): k["alpha"] for m, name, _, k in found if name == "error"}
    assert set(ways.values()) == {1.0}
    assert len(found) == 2 * (5 + 1)  # of two replicates, which are one pair


def test_studies_are_of_their_levels_and_of_networks_that_are_there(run):
    sparse = SimpleNamespace(
        **vars(run) | {"level": 1, "tickets": dict.fromkeys(TICKETS)}
    )
    assert [*studies.alignment(sparse)] == [*studies.mask_overlap(run)] == []
    alone = {DENSE[0]: run.networks[DENSE[0]]}
    lost = SimpleNamespace(**vars(run) | {"networks": alone, "tickets": alone})
    assert [*studies.alignment(lost)] == []
    sparse.masks = {TICKETS[0]: run.masks(TICKETS[0])}.get
    assert [*studies.mask_overlap(sparse)] == []


def test_permuted_masks_overlap_by_chance_before_and_whole_after(run):
    sparse = SimpleNamespace(
        **vars(run) | {"level": 1, "tickets": dict.fromkeys(TICKETS)}
    )
    found = {(m, k["pair"]): x for m, _, x, k in studies.mask_overlap(sparse)}
    masks = [run.masks(ticket) for ticket in TICKETS]
    numbers = masks_lib.by_layer(masks[0]).values()
    expected = sum(kept**2 / n for kept, n in numbers) / sum(
        kept for kept, _ in numbers
    )
    ticket = TICKETS[0]
    assert found[ticket, "aligned"] == 1
    assert found[ticket, "replicates"] == masks_lib.overlap(*masks) < 1
    assert found[ticket, "by_chance"] == pytest.approx(expected)
    assert len(found) == 3


@pytest.mark.parametrize(("n", "number"), [(2, 1), (3, 3), (4, 4)])
def test_a_pair_of_replicates_is_studied_once(n, number):
    members = [Member(i, 0, 0, "dense", 0) for i in range(n)]
    of = SimpleNamespace(plan=SimpleNamespace(dense=members), tickets=members)
    found = [{a.replicate, b.replicate} for a, b in siblings.followed(of)]
    assert len({*map(tuple, map(sorted, found))}) == len(found) == number


def test_overlap_by_chance_is_what_shuffled_masks_have():
    rng = np.random.default_rng(0)
    a, b = (
        {"v": rng.permutation(60) < n, "w": rng.permutation(40) < m}
        for n, m in ((30, 4), (6, 8))
    )
    found = [
        sum((mask & rng.permutation(b[path])).sum() for path, mask in a.items()) / 14
        for _ in range(400)
    ]
    error = np.std(found) / 20
    assert siblings.overlap_by_chance(a, b) == pytest.approx((3 + 0.8) / 14)
    assert abs(np.mean(found) - (3 + 0.8) / 14) < 4 * error


# ----------------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run on digits with all that looks at another replicate's units."""
    configure = small.configuring(tmp_path_factory, **{"train.length": "30it"})
    config = configure(
        replicates=2,
        branches=("ticket", "transported"),
        studies=("alignment", "mask_overlap"),
        **{"prune.densities": (0.3,), "study.points": 3, "study.examples": 200},
    )
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build", small.build)
        lottery.run(config, folder)
    return folder


@pytest.mark.slow
def test_a_run_trains_under_transported_masks_and_studies_them(done):
    rows = load(done)
    counts = rows[rows["measure"] == "test_accuracy"].groupby("branch").size()
    assert counts.to_dict() == {"dense": 2, "ticket": 2, "transported": 2}
    overlaps = rows[rows["measure"] == "mask_overlap"].groupby("pair")["value"].mean()
    assert overlaps["aligned"] > overlaps["replicates"] + 0.02
    assert abs(overlaps["replicates"] - overlaps["by_chance"]) < 0.05
    paths = rows[(rows["measure"] == "error") & (rows["split"] == "test")]
    ends = paths[paths["alpha"] == 1].groupby(["replicate"])["value"].nunique()
    assert ends.tolist() == [1]  # of whatever pair; two replicates are one
    label = figures.along_paths(rows, pair="aligned").get_supxlabel()
    assert label == "way from one replicate, aligned, to another"


def test_a_run_with_such_a_study_takes_in_no_replicates():
    config = config_lib.default()
    config.studies = ("mask_overlap",)
    with pytest.raises(
        config_lib.ConfigError, match=r"^config\.replicates: numbers of"
    ):
        demands.grows(config)


def test_a_network_without_units_that_can_be_permuted_is_refused(tmp_path):
    """Before anything is written."""

    def init(key, inputs):
        return {"w": jax.random.normal(key, (64, 10))}, {}

    def apply(params, state, inputs, *, train, key):
        return inputs.reshape(len(inputs), -1) @ params["w"], state

    config = config_lib.load("configs/digits.py:smoke")
    with config.unlocked():
        config.studies = ("alignment",)
    network = models.Functions(init, apply)
    with pytest.raises(config_lib.ConfigError, match="^config.model: 'alignment' perm"):
        lottery.run(config, tmp_path / "run", network=network)
    assert not (tmp_path / "run").exists()
