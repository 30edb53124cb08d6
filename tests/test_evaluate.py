"""Evaluation: every example counts exactly once."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from trees import assert_same

from lth_jax import config as config_lib
from lth_jax import data, models, prune
from lth_jax.data import Split
from lth_jax.devices.layout import Layout
from lth_jax.models.network import with_fields
from lth_jax.studies import between
from lth_jax.tasks import Classification
from lth_jax.train import state
from lth_jax.train.evaluate import Evaluator, refresher
from lth_jax.train.fit import Program

EXAMPLES, CLASSES = 23, 4
MEAN, STD = np.array([0.4, 0.6], np.float32), np.array([0.2, 0.3], np.float32)


class Normalised(models.Classifier):
    """A batch normalisation, which knows training from evaluation, and a layer."""

    @nn.compact
    def __call__(self, x, train):
        return self.classify(self.bound_norm(train)(name="norm")(x.mean((1, 2))))


MODEL = models.linen(Normalised(num_classes=CLASSES))


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    return Split(
        rng.integers(256, size=(EXAMPLES, 2, 3, 2), dtype=np.uint8),
        rng.integers(CLASSES, size=EXAMPLES, dtype=np.int32),
    )


@pytest.fixture(scope="module")
def members():
    """Networks that differ, with weights where their masks have none."""
    first = state.create(
        jax.random.key(0), jnp.zeros((1, 2, 3, 2)), MODEL, optax.identity()
    )
    rng = np.random.default_rng(1)

    def another(number):
        params, statistics = jax.tree.map(
            lambda x: jnp.asarray(rng.uniform(0.5, 2, x.shape), jnp.float32),
            (first.params, first.batch_stats),
        )
        masks = prune.random(jax.random.key(number), first.masks, 0.5)
        return dataclasses.replace(
            first, params=params, batch_stats=statistics, masks=masks
        )

    return [another(number) for number in range(3)]


def plain(member, split, unit_norm=False):
    """Accuracy and loss, example by example, in NumPy."""
    params, masks, statistics = jax.device_get(
        (member.params, member.masks, member.batch_stats["norm"])
    )
    right, losses = 0, []
    for image, label in zip(split.inputs, split.targets):
        x = (image / 255 - MEAN) / STD
        x = (x / np.linalg.norm(x) if unit_norm else x).mean((0, 1))
        x = (x - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5)
        x = x * params["norm"]["scale"] + params["norm"]["bias"]
        kernel = params["fc"]["kernel"] * masks["fc"]["kernel"]
        logits = x @ kernel + params["fc"]["bias"]
        right += int(logits.argmax() == label)
        losses.append(np.log(np.exp(logits).sum()) - logits[label])
    return right, np.mean(losses)


def evaluator(split, name, devices, batch_size, limit=0, unit_norm=False):
    layout = Layout(name, tuple(jax.devices()[:devices]), limit)
    model = with_fields(MODEL, axis_name=layout.axis)
    prepare = partial(data.normalise, mean=MEAN, std=STD, unit_norm=unit_norm)
    return Evaluator(model, Classification(), split, prepare, layout, batch_size)


@pytest.mark.parametrize(
    ("name", "devices", "batch_size", "limit"),
    [
        ("fleet", 1, 1, 1),
        ("fleet", 2, 5, 0),
        ("fleet", 2, 1000, 1),
        ("data", 1, 23, 0),
        ("data", 2, 5, 0),  # in parts of 3, the last of which are empty
        ("data", 2, 1000, 0),
    ],
)
def test_every_example_counts_exactly_once(
    split, members, name, devices, batch_size, limit
):
    evaluate = evaluator(split, name, devices, batch_size, limit)
    evaluations = evaluate(members)
    assert len(evaluations) == len(members)
    for member, evaluation in zip(members, evaluations):
        right, loss = plain(member, split)
        assert evaluation["accuracy"] == right / EXAMPLES
        np.testing.assert_allclose(evaluation["loss"], loss, rtol=1e-5)


def test_images_of_unit_norm_are_evaluated_as_such(split, members):
    evaluate = evaluator(split, "fleet", 1, 5, unit_norm=True)
    for member, evaluation in zip(members, evaluate(members)):
        right, loss = plain(member, split, unit_norm=True)
        assert evaluation["accuracy"] == right / EXAMPLES
        np.testing.assert_allclose(evaluation["loss"], loss, rtol=1e-5)


def test_a_moving_average_is_evaluated_in_place_of_the_weights(split, members):
    one, two, _ = members
    average = {"params": two.params, "batch_stats": two.batch_stats}
    averaged = dataclasses.replace(one, masks=two.masks, average=average)
    evaluate = evaluator(split, "fleet", 1, 1000)
    assert evaluate([averaged]) == evaluate([two]) != evaluate([one])


@pytest.mark.parametrize("name", ["fleet", "data"])
def test_a_split_may_be_smaller_than_the_number_of_devices(split, members, name):
    single = split.take(np.array([7]))
    (evaluation,) = evaluator(single, name, 2, 1000)(members[:1])
    right, loss = plain(members[0], single)
    assert evaluation["accuracy"] == right
    np.testing.assert_allclose(evaluation["loss"], loss, rtol=1e-5)


def test_members_survive_their_evaluation(split, members):
    before = jax.tree.map(np.array, members)
    evaluator(split, "data", 2, 10)(members)
    jax.tree.map(np.testing.assert_array_equal, members, before)


def test_a_diverged_network_has_no_finite_loss(split, members):
    lost = dataclasses.replace(
        members[0], params=jax.tree.map(lambda w: w * jnp.nan, members[0].params)
    )
    fine, diverged = evaluator(split, "fleet", 1, 1000)([members[1], lost])
    assert np.isfinite(fine["loss"])
    assert np.isnan(diverged["loss"])


def test_networks_between_two_are_on_the_line_of_what_is_evaluated():
    """Of moving averages, where there are some; all else is the first one's."""
    a, b = (
        state.TrainState(
            step=jnp.int32(step),
            params={"w": jnp.array([w])},
            batch_stats={"mean": jnp.array([10 * w])},
            opt_state=(),
            masks={"w": jnp.array([True])},
            data_seed=jnp.uint32(0),
            learning_rate=jnp.float32(1),
            loss=jnp.float32(0),
            loss_from=jnp.int32(0),
        )
        for step, w in ((3, 1.0), (5, 5.0))
    )
    average = {"params": {"w": jnp.array([9.0])}, "batch_stats": {"mean": jnp.ones(1)}}
    b = dataclasses.replace(b, average=average)
    found = between(a, b, np.array([0, 0.25, 1], np.float32))
    assert [float(point.params["w"][0]) for point in found] == [1, 3, 9]
    means = [float(point.batch_stats["mean"][0]) for point in found]
    assert means == [10, 7.75, 1]
    assert {int(point.step) for point in found} == {3}
    assert all(point.average is None for point in found)


def test_networks_between_two_keep_what_one_of_them_keeps(members):
    one, other = jnp.array([True, True, False]), jnp.array([False, True, False])
    a, b = (
        dataclasses.replace(
            members[0],
            params={"w": 2.0 * m, "b": jnp.ones(1)},
            masks={"w": m, "b": None},
        )
        for m in (other, one)
    )
    point = between(a, b, np.ones(1, np.float32))[0]
    assert point.masks["w"].tolist() == [True, True, False]
    assert point.masks["b"] is None


def training(split, network, name="fleet"):
    """A program of batches of 5 examples."""
    layout = Layout(name, (jax.devices()[0],))
    prepare = partial(data.normalise, mean=MEAN, std=STD)
    feed = data.Memory(split, batch_size=5, prepare=prepare)
    arrays = layout.replicate(feed.arrays)
    return Program(
        network=network,
        task=Classification(),
        optimizer=lambda rate, decay: optax.sgd(rate),
        schedule=lambda step: jnp.float32(0.1),
        feed=feed,
        supply=lambda data_seed, step: arrays,
        layout=layout,
    )


@pytest.mark.parametrize(("name", "momentum"), [("fleet", 0.9), ("data", 0.99)])
@pytest.mark.parametrize("mean", [False, True])
def test_batch_statistics_are_recomputed_by_training_batches(
    split, members, name, momentum, mean
):
    """As training would, from step 0 on, but with the weights as they are.

    With a momentum of 0.9 at most, by 50 batches at least; or, as a mean of as many as
    the examples fill, without what they had before.
    """
    program = training(split, with_fields(MODEL, norm_momentum=momentum), name)
    feed, arrays = program.feed, program.supply(0, 0)
    config = config_lib.default()
    config.study.batch_stats = "recompute_mean" if mean else "recompute"
    config.study.examples, config.data.batch_size = 33, 5
    fresh = refresher(program, config)(members)
    for member, found in zip(members, fresh, strict=True):
        assert_same(found.params, member.params)
        statistics = jax.device_get(member.batch_stats["norm"])
        for step in range(7 if mean else 50):
            images = feed.batch(arrays, member.data_seed, step)["inputs"]
            x = np.asarray(images).mean((1, 2))
            now = {"mean": x.mean(0), "var": x.var(0)}
            keep = step / (step + 1) if mean else 0.9
            statistics = {
                n: keep * s + (1 - keep) * now[n] for n, s in statistics.items()
            }
        for name, wanted in statistics.items():
            np.testing.assert_allclose(
                found.batch_stats["norm"][name], wanted, rtol=1e-4, atol=1e-6
            )
