"""PyTorch's layouts of the networks that `test_export` does not have, and of others."""

import jax
import numpy as np
import pytest
from test_export import network, state_dict, torch_logits

from lth_jax import export, models
from lth_jax.errors import ExportError
from lth_jax.export import torch_layout, torch_names

LAYOUTS = {  # size of images, module, and its arguments
    "squeezenet": (63, "SqueezeNet", ()),
    "mobilenet_v2": (32, "MobileNet", ((1, 1, 1, 2, 2, 1, 2, 1), True)),
    "mobilenet_v2_imagenet": (64, "MobileNet", ((2, 1, 2, 2, 2, 1, 2, 1), False)),
    "resnet50": (64, "ResNet50", ()),
    "inception_v3": (75, "Inception", ()),
}


def drawn(model, size, channels=3):
    """Weights, of which some are pruned, and statistics, of a network."""
    images = np.ones((1, size, size, channels), np.float32)
    random = np.random.default_rng(1)

    def draw(path, x):
        kind, number = path[-1].key, random.normal(size=x.shape)
        if kind == "kernel":
            kept = random.random(x.shape) < 0.7
            number = kept * number * np.sqrt(2 / np.prod(x.shape[:-1]))
        elif kind in ("scale", "var"):
            number = 1 + 0.1 * np.abs(number)
        else:
            number = 0.1 * number
        return number.astype(np.float32)

    made = jax.eval_shape(model.init, jax.random.key(0), images)
    return jax.tree_util.tree_map_with_path(draw, made)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_pytorch_gives_the_same_logits(name):
    pytest.importorskip("torch", reason="torch is an extra, and not installed")
    import torch
    import torch_modules

    size, module, arguments = LAYOUTS[name]
    model = models.create(name, num_classes=10)
    params, batch_stats = drawn(model, size)
    arrays = state_dict(name, params, batch_stats)
    images = np.random.default_rng(0).normal(size=(4, size, size, 3))
    images = images.astype(np.float32)
    apply = jax.jit(
        lambda x: model.apply(params, batch_stats, x, train=False, key=None)
    )
    expected = np.asarray(apply(images)[0])
    theirs = getattr(torch_modules, module)(*arguments)
    found = torch_logits(torch, theirs, arrays, images)
    assert np.std(expected, axis=0).max() > 0
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet_v2", "inception_v3"])
def test_no_two_layers_have_one_name_and_none_keeps_its_own(name):
    """Without computing anything."""
    model = models.create(name, num_classes=10)
    images = np.ones((1, 75, 75, 3), np.float32)
    params, _ = jax.eval_shape(model.init, jax.random.key(0), images)
    paths = {
        "/".join(key.key for key in path[:-1])
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    }
    rename = torch_names.renaming(model.module, name)
    renamed = {path: rename(path) for path in paths}
    assert len({*renamed.values()}) == len(paths)
    kept = {path for path, new in renamed.items() if path == new}
    assert kept <= {"fc"}


NAMES = {r"fc(\d)": r"layers.\1", "fc": "head"}


def test_a_table_names_the_layers_of_any_network(tmp_path):
    model, ticket = network("lenet", (4, 4, 1), widths=(6, 5))
    about = {"model": {"name": "mine"}, "data": {"shape": [4, 4, 1]}}
    mine = export.Ticket(ticket.params, ticket.batch_stats, ticket.masks, about)
    found = torch_layout.state_dict(mine, NAMES)
    assert {name: x.shape for name, x in found.items()} == {
        "layers.1.weight": (6, 16),
        "layers.1.bias": (6,),
        "layers.2.weight": (5, 6),
        "layers.2.bias": (5,),
        "head.weight": (10, 5),
        "head.bias": (10,),
    }
    np.testing.assert_array_equal(
        found["head.weight"], np.asarray(ticket.params["fc"]["kernel"]).T
    )
    with pytest.raises(ExportError, match="--names: nothing in the table matches 'fc'"):
        torch_layout.state_dict(mine, {r"fc\d": "x"})
    with pytest.raises(ExportError, match="'mine' has no PyTorch layout of its own"):
        torch_layout.state_dict(mine)


def test_convolutions_of_any_rank_have_positions_last():
    for kernel in ((3, 2, 5), (3, 4, 2, 5), (3, 4, 6, 2, 5)):
        about = {"model": {"name": "mine"}, "data": {}}
        params = {"conv": {"kernel": np.zeros(kernel)}}
        ticket = export.Ticket(params, {}, {}, about)
        found = torch_layout.state_dict(ticket, {"conv": "c"})
        assert found["c.weight"].shape == (5, 2, *kernel[:-2])


def of_layers(params, shape=None):
    """A ticket of a network that is nobody's."""
    about = {"model": {"name": "mine"}, "data": {"shape": shape}}
    return export.Ticket(params, {}, {}, about)


@pytest.mark.parametrize("shape", [[2, 2, 3], [5, 7, 3], [12], {"a": [2]}, None])
def test_a_layer_called_fc1_of_ones_own_is_only_transposed(shape):
    kernel = np.arange(24.0).reshape(12, 2)
    ticket = of_layers({"fc1": {"kernel": kernel}}, shape)
    found = torch_layout.state_dict(ticket, {"fc1": "fc1"})
    np.testing.assert_array_equal(found["fc1.weight"], kernel.T)


@pytest.mark.parametrize("shape", [[3, 2], [6], [1], [3, 2, 1, 1]])
def test_inputs_that_are_no_image_keep_their_order(shape):
    """Images without channels, rows of a table, and others, of the package's LeNet."""
    kernel = np.arange(2.0 * np.prod(shape)).reshape(-1, 2)
    about = {"model": {"name": "lenet"}, "data": {"shape": shape}}
    ticket = export.Ticket({"fc1": {"kernel": kernel}}, {}, {}, about)
    found = torch_layout.state_dict(ticket)
    np.testing.assert_array_equal(found["fc1.weight"], kernel.T)


def test_arrays_have_the_names_and_layouts_of_their_layers():
    weights = np.arange(6.0).reshape(2, 3)
    ticket = of_layers(
        {
            "words": {"embedding": weights},
            "mlp/~/linear_0": {"w": weights, "b": np.ones(3)},  # of Haiku
            "layers": {"0": {"weight": weights, "bias": np.ones((2, 1, 1))}},  # Equinox
        }
    )
    table = {"words": "words", "mlp/~/linear_0": "haiku", "layers/0": "equinox"}
    found = torch_layout.state_dict(ticket, table)
    assert found.keys() == {
        *("words.weight", "haiku.weight", "haiku.bias"),
        *("equinox.weight", "equinox.bias"),
    }
    np.testing.assert_array_equal(found["words.weight"], weights)
    np.testing.assert_array_equal(found["haiku.weight"], weights.T)
    np.testing.assert_array_equal(found["equinox.weight"], weights)
    assert found["equinox.bias"].shape == (2,)


HEADS = {name: {"kernel": np.ones((4, 2, 2))} for name in ("query", "key", "value")}
KERNEL = {"kernel": np.ones((2, 2))}


@pytest.mark.parametrize(
    ("params", "table", "said"),
    [
        (HEADS | {"out": HEADS["key"]}, {".*": "m"}, "'key', of an attention, has no"),
        ({"gate": {"alpha": np.ones(2)}}, {".*": "m"}, "'gate/alpha', of 1 axes, has"),
        ({"d": {"bias": np.ones((2, 2))}}, {".*": "m"}, "'d/bias', of 2 axes, has no"),
        ({"d": {"kernel": np.ones(2)}}, {".*": "m"}, "'d/kernel', of 1 axes, has no"),
        ({"a": KERNEL, "b": KERNEL}, {".*": "m"}, "two layers become 'm'; one is 'b'"),
        ({"d": KERNEL}, {"(d": "m"}, r"'\(d': 'm': missing \)"),
        ({"d": KERNEL}, {"d": r"m\1"}, r"--names: 'd': 'm.*1': invalid group"),
        ({"d": KERNEL}, {"d": r"m\g<x>"}, "--names: 'd': 'm.*': unknown group"),
    ],
)
def test_what_has_no_counterpart_is_named(params, table, said):
    with pytest.raises(ExportError, match=said) as caught:
        torch_layout.state_dict(of_layers(params), table)
    assert len(str(caught.value).splitlines()) == 1
