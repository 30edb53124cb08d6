"""ONNX: what a written graph computes, and what is refused unwritten."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from test_torch_layouts import drawn

from lth_jax import export, masks, models
from lth_jax.errors import ExportError
from lth_jax.export import onnx_graph

SIZES = {"lenet": 28, "resnet20": 32, "vgg11": 32, "vit": 32, "mobilenet_v2": 32}
SLOW = {"vgg16": 32, "vgg19": 32, "inception_v3": 75, "mobilenet_v2_imagenet": 64}


def ticket(name, size, channels=3, network=None, **options):
    """A ticket of random weights, 70 % of them kept, and random statistics."""
    network = network or models.create(name, num_classes=10, **options)
    params, stats = drawn(network, size, channels)
    full = masks.full(params)
    kept = jax.tree.map(lambda w, m: None if m is None else w != 0, params, full)
    about = {"model": {"name": name, "options": options}}
    about |= {"data": {"shape": [size, size, channels], "classes": 10}}
    return export.Ticket(params, stats, kept, about)


CASES = [
    pytest.param(name, size, marks=[pytest.mark.slow] * (name in SLOW))
    for name, size in (SIZES | SLOW).items()
]


@pytest.mark.parametrize(("name", "size"), CASES)
@pytest.mark.filterwarnings("default")  # of what the extras import
def test_a_graph_has_the_logits_of_the_ticket_and_its_zeros(name, size, tmp_path):
    onnx = pytest.importorskip("onnx", reason="jax2onnx is an extra")
    runtime = pytest.importorskip("onnxruntime")
    path, one = tmp_path / "ticket.onnx", ticket(name, size)
    assert onnx_graph.write(path, one) <= onnx_graph.TOLERANCE

    images = np.random.default_rng(3).normal(size=(5, size, size, 3))
    images = images.astype(np.float32)
    network = models.create(name, num_classes=10)
    apply = jax.jit(lambda *x: network.apply(*x, train=False, key=None)[0])
    expected = np.asarray(apply(one.params, one.batch_stats, images))
    session = runtime.InferenceSession(path)
    (found,) = session.run(None, {"inputs": images})
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)
    assert np.std(expected, axis=0).max() > 0

    # The auxiliary classifier is for training.
    layers = {k: x for k, x in masks.by_layer(one.masks).items() if "aux" not in k}
    pruned = sum(total - kept for kept, total in layers.values())
    arrays = [onnx.numpy_helper.to_array(x) for x in onnx.load(path).graph.initializer]
    kernels = [x for x in arrays if x.ndim > 1 and x.size > 10]
    assert 0 < pruned <= sum(np.sum(x == 0) for x in kernels)


class Padded(nn.Module):
    """Its pooling pads, which jax2onnx 0.17 leaves out without a word."""

    @nn.compact
    def __call__(self, x):
        pads = ((1, 1), (1, 1))
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=pads)
        return nn.Dense(10)(x.mean(axis=(1, 2)))  # of whatever size


@pytest.mark.filterwarnings("default")
def test_a_graph_that_computes_something_else_is_not_written(tmp_path):
    pytest.importorskip("jax2onnx", reason="an extra, and not installed")
    network, path = models.linen(Padded()), tmp_path / "ticket.onnx"
    with pytest.raises(
        ExportError, match="^--format: what jax2onnx writes .* differs by"
    ):
        onnx_graph.write(path, ticket("mine", 12, network=network), network)
    assert not path.exists()


@pytest.mark.filterwarnings("default")
def test_a_network_of_ones_own_is_given_from_python(tmp_path):
    pytest.importorskip("jax2onnx", reason="an extra, and not installed")
    network, path = models.linen(nn.Sequential([nn.Dense(7), nn.relu])), tmp_path / "a"
    kept = jnp.eye(4, 7)
    params = {"layers_0": {"kernel": kept, "bias": jnp.arange(7.0)}}
    about = {"model": {"name": "mine"}, "data": {"shape": [4], "classes": 7}}
    one = export.Ticket(
        params, {}, {"layers_0": {"kernel": kept > 0, "bias": None}}, about
    )
    with pytest.raises(ExportError, match="'mine' is no network of this library"):
        onnx_graph.write(path, one)
    assert onnx_graph.write(path, one, network) == 0


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ExportError, match=r"jax2onnx: pip install 'lth_jax\[onnx\]'"):
        onnx_graph.write(tmp_path / "a.onnx", ticket("lenet", 28))


@pytest.mark.parametrize("shape", [None, {"a": [3], "b": [4]}, [[3], [4]]])
def test_of_several_inputs_there_is_no_graph(shape, tmp_path):
    pytest.importorskip("jax2onnx", reason="an extra, and not installed")
    one = ticket("lenet", 28)
    one.about["data"] = {"shape": shape, "classes": 10}
    with pytest.raises(ExportError, match="one input array"):
        onnx_graph.write(tmp_path / "a.onnx", one)
