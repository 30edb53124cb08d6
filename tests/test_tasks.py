"""Tasks: losses of each example, metrics as sums and counts, and what cannot be."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import tasks
from lth_jax.errors import ConfigError
from lth_jax.tasks import NO_LABEL, Classification, Regression, Sequence, Unit
from lth_jax.tasks import task as task_lib

HALF = math.log(2)  # the loss of two equal logits


def batch(targets, inputs=None):
    targets = jnp.asarray(targets)
    return {"inputs": jnp.zeros(len(targets)) if inputs is None else inputs} | {
        "targets": targets
    }


def measured(task, outputs, of, counts=None):
    eager = task_lib.totals(task, outputs, of, counts)
    jitted = jax.jit(lambda *x: task_lib.totals(task, *x))(outputs, of, counts)
    for name, pair in eager.items():
        np.testing.assert_allclose(pair, jitted[name], rtol=1e-6)
    return task_lib.means(jax.device_get(eager))


def test_classification_counts_right_answers_and_nats():
    logits = jnp.array([[9.0, 0.0], [0.0, 0.0], [0.0, 9.0]])
    found = measured(Classification(), logits, batch([0, 1, NO_LABEL]))
    assert found["accuracy"] == 0.5
    assert found["loss"] == pytest.approx((math.log1p(math.exp(-9)) + HALF) / 2)
    assert task_lib.error(Classification(), found) == 0.5


def test_auxiliary_heads_add_to_the_loss_of_every_example():
    heads = jnp.zeros((2, 2)), jnp.zeros((2, 4))
    losses = Classification(aux_weight=0.5).losses(heads, batch([0, 1]))
    np.testing.assert_allclose(losses, HALF + 0.5 * math.log(4), rtol=1e-6)


def test_regression_is_the_mean_square_whatever_the_shape():
    for outputs, targets in (
        ([[3.0], [0.0]], [1.0, 0.0]),
        ([3.0, 0.0], [1.0, 0.0]),
        ([[3.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [0.0, 0.0]]),
    ):
        outputs, of = jnp.array(outputs), batch(targets)
        losses = Regression().losses(outputs, of)
        assert losses.shape == (2,)
        assert measured(Regression(), outputs, of) == {
            "squared_error": float(losses.mean())
        }
    assert task_lib.error(Regression(), {"squared_error": 2.0}) == 2.0
    np.testing.assert_allclose(Regression().losses(outputs, of), [4.0, 0.0])


def test_a_sequence_is_measured_by_token_and_padding_is_none():
    """Three tokens in all: one right, of 0 bits, and two of equal logits, of 1 bit."""
    logits = jnp.zeros((2, 2, 2)).at[0, 0].set(jnp.array([99.0, 0.0]))
    of = batch([[0, 1], [1, NO_LABEL]])
    found = measured(Sequence(), logits, of)
    assert found["bits"] == pytest.approx(2 / 3)
    assert found["loss"] == pytest.approx(2 / 3 * HALF)
    assert found["accuracy"] == pytest.approx(1 / 3)
    np.testing.assert_allclose(
        Sequence().losses(logits, of), [HALF / 2, HALF], rtol=1e-6
    )


def test_what_is_all_padding_has_no_loss():
    of = batch([[NO_LABEL, NO_LABEL]])
    assert float(Sequence().losses(jnp.zeros((1, 2, 2)), of)[0]) == 0
    assert measured(Sequence(), jnp.zeros((1, 2, 2)), of)["bits"] == 0


def test_examples_that_do_not_count_weigh_nothing():
    for task, outputs, targets in (
        (Classification(), jnp.array([[9.0, 0.0], [jnp.nan, 0.0]]), [0, 0]),
        (Regression(), jnp.array([1.0, jnp.nan]), [1.0, 1.0]),
        (Sequence(), jnp.array([[[9.0, 0.0]], [[jnp.nan, 0.0]]]), [[0], [0]]),
    ):
        found = measured(task, outputs, batch(targets), jnp.array([True, False]))
        assert all(math.isfinite(value) for value in found.values())


def test_a_metric_alone_has_one_count_an_example():
    class Sums:
        units = {"sum": Unit()}
        error = "sum"

        def losses(self, outputs, batch):
            return outputs

        def metrics(self, outputs, batch):
            return {"sum": outputs}

    found = task_lib.totals(Sums(), jnp.array([1.0, 2.0, 6.0]), batch([0, 0, 0]))
    assert [float(x) for x in found["sum"]] == [9, 3]


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "said"),
    [
        (Classification(), (4, 3), np.zeros((4, 2), "i4"), r"float32\[4, 3\]: "),
        (Classification(), (4,), np.zeros(4, "i4"), r"float32\[4\]: "),
        (Sequence(), (4, 3), np.zeros((4, 3), "i4"), r"float32\[4, 3\]: "),
        (Sequence(), (4, 3, 5), np.zeros((4, 2), "i4"), r"float32\[4, 3, 5\]: "),
        (Regression(), (4, 2), np.zeros(4, "f4"), r"targets are \[4\]"),
    ],
)
def test_outputs_that_a_task_cannot_use_are_refused(task, outputs, targets, said):
    outputs = jax.ShapeDtypeStruct(outputs, jnp.float32)
    of = {"inputs": jnp.zeros(4), "targets": jnp.asarray(targets)}
    with pytest.raises(ValueError, match=said):
        task_lib.check(task, outputs, of)


class Bad:
    units = {"x": Unit()}
    error = "x"

    def losses(self, outputs, batch):
        return outputs

    def metrics(self, outputs, batch):
        return {"x": outputs}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"losses": lambda self, o, b: o.mean()}, "takes one an example"),
        ({"metrics": lambda self, o, b: {"y": o}}, "give each metric a unit"),
        ({"metrics": lambda self, o, b: {"x": o.mean()}}, "metric 'x'"),
        ({"error": "z"}, "the error is 'z'"),
    ],
)
def test_a_task_of_ones_own_is_told_what_is_wrong(change, said):
    task = type("Worse", (Bad,), change)()
    task_lib.check(Bad(), jnp.zeros(4), batch(jnp.zeros(4)))
    with pytest.raises(ValueError, match=said):
        task_lib.check(task, jnp.zeros(4), batch(jnp.zeros(4)))


@pytest.mark.parametrize(
    ("task", "targets", "said"),
    [
        (Classification(), [0, 3], "targets are from 0 to 3, and the network has 3"),
        (Classification(), [-2, 0], "from -2 to 0"),
        (Classification(), [0.5], "targets are float64, and classes are integers"),
        (Sequence(), [[0, 7]], "from 0 to 7"),
        (Regression(), [1, 2], "targets are int64"),
    ],
)
def test_targets_out_of_range_are_refused(task, targets, said):
    outputs = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    with pytest.raises(ValueError, match=said):
        task.check_targets(np.array(targets), outputs)
    Classification().check_targets(np.array([NO_LABEL, 0, 2]), outputs)


def test_a_task_is_made_by_name_with_what_it_takes():
    assert tasks.create("regression", {}, label_smoothing=0.0) == Regression()
    with pytest.raises(TypeError, match="nonsense"):
        tasks.create("regression", {"nonsense": 1})


def test_an_example_without_a_label_is_not_trained_on():
    of, logits = batch([1, NO_LABEL]), jnp.zeros((2, 2))
    for task in (Classification(), Classification(label_smoothing=0.1)):
        losses = task.losses((logits, logits), of)
        np.testing.assert_allclose(losses, [1.4 * HALF, 0.0], rtol=1e-6)
        grads = jax.grad(lambda x, task=task: task.losses(x, of).mean())(logits)
        assert not grads[1].any()
        assert grads[0].any()


def test_label_smoothing_is_refused_by_a_task_that_does_not_take_it():
    said = r"^config\.optim\.label_smoothing: task 'regression' does not take it"
    with pytest.raises(ConfigError, match=said):
        tasks.create("regression", {}, label_smoothing=0.1, aux_weight=0.4)
