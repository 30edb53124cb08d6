"""The networks: their sizes, their names, and what training and dtype change."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.tree_util import keystr, tree_leaves_with_path

from lth_jax import masks, models
from lth_jax.layers import summary
from lth_jax.models import lean
from lth_jax.models.classifier import Classifier
from lth_jax.models.mobilenet import InvertedResidual
from lth_jax.models.resnet import BasicBlock, Bottleneck

FAMILIES = {
    "lenet": (8, 8, 1),
    "resnet20": (8, 8, 3),
    "vgg11": (16, 16, 3),
    "mobilenet_v2": (8, 8, 3),
    "resnet18": (32, 32, 3),
    "resnet50": (32, 32, 3),
    "inception_v3": (75, 75, 3),
    "squeezenet": (21, 21, 3),
}


def spec(*shape):
    """What an image is, without numbers."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def create(name, **fields):
    """The Linen module of a network by name."""
    return models.create(name, **fields).module


def abstract(network, image):
    """The shapes and dtypes of the network's variables and of a batch of two."""
    images = jax.ShapeDtypeStruct((2, *image), jnp.float32)
    init = partial(network.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), images), images


def paths(params):
    leaves = tree_leaves_with_path(params)
    return [keystr(path, simple=True, separator="/") for path, _ in leaves]


def filled(variables, seed=0):
    """Concrete variables without compiling an initialisation."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.1, 0.2, leaf.shape), leaf.dtype),
        variables,
    )


@cache
def shapes(name):
    """The shapes of the parameters, by path as nested dicts."""
    variables, _ = abstract(create(name, num_classes=10), (96, 96, 3))
    return variables["params"]


@cache
def small_resnet():
    """A residual network of seconds to compile, its variables and a batch."""
    network = create("cifar_resnet", num_classes=3, depth=8, width=2)
    variables, _ = abstract(network, (8, 8, 3))
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    return network, filled(variables), images


@pytest.mark.parametrize(
    ("name", "num_classes", "image", "count"),
    [
        ("lenet", 10, (28, 28, 1), 266_610),
        ("cifar_resnet", 10, (32, 32, 3), 272_474),
        ("resnet20", 10, (32, 32, 3), 272_474),
        ("resnet32", 10, (32, 32, 3), 466_906),
        ("resnet44", 10, (32, 32, 3), 661_338),
        ("resnet56", 10, (32, 32, 3), 855_770),
        ("resnet110", 10, (32, 32, 3), 1_730_714),
        ("vgg11", 10, (32, 32, 3), 9_231_114),
        ("vgg13", 10, (32, 32, 3), 9_416_010),
        ("vgg16", 10, (32, 32, 3), 14_728_266),
        ("vgg19", 10, (32, 32, 3), 20_040_522),
        ("mobilenet_v2", 10, (32, 32, 3), 2_296_922),
        ("mobilenet_v2_imagenet", 1000, (224, 224, 3), 3_504_872),
        ("resnet18", 1000, (224, 224, 3), 11_689_512),
        ("resnet34", 1000, (224, 224, 3), 21_797_672),
        ("resnet50", 1000, (224, 224, 3), 25_557_032),
        ("resnet101", 1000, (224, 224, 3), 44_549_160),
        ("resnet152", 1000, (224, 224, 3), 60_192_808),
        ("inception_v3", 1000, (299, 299, 3), 27_161_264),
        ("squeezenet", 1000, (224, 224, 3), 1_248_424),
    ],
)
def test_parameter_count(name, num_classes, image, count):
    network = create(name, num_classes=num_classes)
    variables, _ = abstract(network, image)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


@pytest.mark.parametrize(
    ("name", "fields", "image", "count"),
    [
        ("lenet", {"widths": (30, 20, 10)}, (8, 8, 1), 1950 + 620 + 210 + 110),
        ("vgg11", {"conv_bias": False}, (32, 32, 3), 9_231_114 - 2752),
        ("inception_v3", {"aux_head": False}, (75, 75, 3), 23_834_568 - 990 * 2049),
    ],
)
def test_fields_change_the_parameter_count(name, fields, image, count):
    network = create(name, num_classes=10, **fields)
    variables, _ = abstract(network, image)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_computes_float32_logits_from_float32_parameters(name):
    network = create(name, num_classes=10, dtype=jnp.bfloat16)
    variables, images = abstract(network, FAMILIES[name])
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    apply = partial(
        network.apply, mutable=["intermediates"], capture_intermediates=True
    )
    logits, state = jax.eval_shape(partial(apply, train=False), variables, images)
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)
    last = "classifier" if name == "squeezenet" else "fc"
    (inner,) = state["intermediates"][last]["__call__"]
    assert inner.dtype == jnp.bfloat16


def test_lenet_paths():
    variables, _ = abstract(create("lenet", num_classes=10), (28, 28, 1))
    assert paths(variables["params"]) == [
        "fc/bias",
        "fc/kernel",
        "fc1/bias",
        "fc1/kernel",
        "fc2/bias",
        "fc2/kernel",
    ]


@pytest.mark.parametrize(
    ("name", "module", "names"),
    [
        ("resnet20", "stage1_block0", "conv1 conv2 norm1 norm2"),
        (
            "resnet20",
            "stage2_block0",
            "conv1 conv2 norm1 norm2 shortcut shortcut_norm",
        ),
        (
            "resnet50",
            "stage1_block0",
            "conv1 conv2 conv3 norm1 norm2 norm3 shortcut shortcut_norm",
        ),
        ("resnet50", "stage4_block2", "conv1 conv2 conv3 norm1 norm2 norm3"),
        (
            "mobilenet_v2",
            "stage1_block0",
            "depthwise depthwise_norm expand expand_norm project project_norm "
            "shortcut shortcut_norm",
        ),
        (
            "mobilenet_v2_imagenet",
            "stage1_block0",
            "depthwise depthwise_norm project project_norm",
        ),
        ("squeezenet", "fire9", "expand1x1 expand3x3 squeeze"),
        ("inception_v3", "conv1", "conv norm"),
        (
            "inception_v3",
            "mixed9",
            "branch1_conv1_1x1 branch1_conv2_3x3 branch2_conv1_1x1 branch2_conv2_1x7 "
            "branch2_conv3_7x1 branch2_conv4_3x3",
        ),
        (
            "inception_v3",
            "mixed11",
            "branch1_conv1_1x1 branch2_conv1_1x1 branch2_conv2_1x3 branch2_conv2_3x1 "
            "branch3_conv1_1x1 branch3_conv2_3x3 branch3_conv3_1x3 branch3_conv3_3x1 "
            "pool_conv",
        ),
        ("inception_v3", "aux", "conv1 conv2 fc"),
    ],
)
def test_names_inside_a_block(name, module, names):
    assert sorted(shapes(name)[module]) == names.split()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        (
            "vgg11",
            "conv1 conv2 conv3 conv4 conv5 conv6 conv7 conv8 fc "
            "norm1 norm2 norm3 norm4 norm5 norm6 norm7 norm8",
        ),
        (
            "resnet18",
            "conv1 fc norm1 stage1_block0 stage1_block1 stage2_block0 stage2_block1 "
            "stage3_block0 stage3_block1 stage4_block0 stage4_block1",
        ),
        (
            "mobilenet_v2",
            "conv1 conv2 fc norm1 norm2 stage1_block0 stage2_block0 stage2_block1 "
            "stage3_block0 stage3_block1 stage3_block2 stage4_block0 stage4_block1 "
            "stage4_block2 stage4_block3 stage5_block0 stage5_block1 stage5_block2 "
            "stage6_block0 stage6_block1 stage6_block2 stage7_block0",
        ),
        (
            "inception_v3",
            "aux conv1 conv2 conv3 conv4 conv5 fc mixed1 mixed10 mixed11 mixed2 "
            "mixed3 mixed4 mixed5 mixed6 mixed7 mixed8 mixed9",
        ),
        (
            "squeezenet",
            "classifier conv1 fire2 fire3 fire4 fire5 fire6 fire7 fire8 fire9",
        ),
    ],
)
def test_names_of_a_network(name, names):
    assert sorted(shapes(name)) == names.split()


@pytest.mark.slow
def test_only_training_updates_batch_statistics():
    network, variables, images = small_resnet()
    apply = partial(network.apply, mutable=["batch_stats"])
    _, trained = jax.jit(partial(apply, train=True))(variables, images)
    _, evaluated = jax.jit(partial(apply, train=False))(variables, images)
    before = jax.tree.leaves(variables["batch_stats"])
    for old, new in zip(before, jax.tree.leaves(trained["batch_stats"]), strict=True):
        assert (old != new).any()
    for old, new in zip(before, jax.tree.leaves(evaluated["batch_stats"]), strict=True):
        np.testing.assert_array_equal(old, new)


def test_running_mean_keeps_nine_tenths():
    network, variables, images = small_resnet()
    apply = partial(network.apply, mutable=["batch_stats", "intermediates"])
    apply = partial(apply, train=True, capture_intermediates=True)
    _, state = jax.jit(apply)(variables, images)
    (output,) = state["intermediates"]["conv1"]["__call__"]
    old = variables["batch_stats"]["norm1"]["mean"]
    new = state["batch_stats"]["norm1"]["mean"]
    expected = 0.9 * old + 0.1 * output.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(new, expected, rtol=1e-4)


def test_axis_name_averages_batch_statistics():
    network, variables, images = small_resnet()
    whole, _ = jax.jit(partial(network.apply, train=True, mutable=["batch_stats"]))(
        variables, images
    )
    synced = network.clone(axis_name="batch")
    apply = partial(synced.apply, train=True, mutable=["batch_stats"])
    mapped = jax.vmap(apply, in_axes=(None, 0), axis_name="batch")
    halves, _ = jax.jit(mapped)(variables, images.reshape((2, 2, 8, 8, 3)))
    np.testing.assert_allclose(halves.reshape((4, 3)), whole, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_inception_returns_auxiliary_logits_only_in_training():
    network = create("inception_v3", num_classes=5)
    for size in (75, 128, 299):
        variables, images = abstract(network, (size, size, 3))
        apply = partial(network.apply, mutable=["batch_stats"])
        (logits, aux_logits), _ = jax.eval_shape(
            partial(apply, train=True), variables, images
        )
        assert logits.shape == aux_logits.shape == (2, 5)
        logits, _ = jax.eval_shape(partial(apply, train=False), variables, images)
        assert logits.shape == (2, 5)


@pytest.mark.slow
def test_inception_without_auxiliary_head_returns_logits_in_training():
    network = create("inception_v3", num_classes=5, aux_head=False)
    variables, images = abstract(network, (75, 75, 3))
    apply = partial(network.apply, train=True, mutable=["batch_stats"])
    logits, _ = jax.eval_shape(apply, variables, images)
    assert logits.shape == (2, 5)


def test_squeezenet_drops_features_only_in_training():
    network = create("squeezenet", num_classes=3, dropout=1.0)
    variables, images = abstract(network, (21, 21, 3))
    variables, images = filled((variables, images))
    variables["params"]["classifier"]["bias"] = jnp.zeros(3)
    rngs = {"dropout": jax.random.key(0)}
    apply = partial(network.apply, rngs=rngs)
    assert not jax.jit(partial(apply, train=True))(variables, images).any()
    assert jax.jit(partial(apply, train=False))(variables, images).all()


def test_zero_init_last_starts_blocks_as_their_shortcuts():
    conv = partial(nn.Conv, kernel_init=nn.initializers.ones)
    norm = partial(nn.BatchNorm, use_running_average=True)
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    for block, scales in (
        (BasicBlock(conv, norm, width=8, zero_init_last=True), [1, 0]),
        (Bottleneck(conv, norm, width=2, zero_init_last=True), [1, 1, 0]),
    ):
        y, variables = jax.jit(block.init_with_output)(jax.random.key(1), x)
        np.testing.assert_array_equal(y, jnp.maximum(x, 0))
        for layer, scale in enumerate(scales, start=1):
            assert (variables["params"][f"norm{layer}"]["scale"] == scale).all()


def test_zero_init_last_reaches_every_block():
    network = create("resnet18", num_classes=10, zero_init_last=True)
    network = network.clone(kernel_init=nn.initializers.zeros)
    init = jax.jit(partial(network.init, train=False))
    params = init(jax.random.key(0), jnp.ones((1, 32, 32, 3)))["params"]
    zero = [name for name in paths(params) if name.endswith("norm2/scale")]
    assert len(zero) == 8
    for block in (name.split("/")[0] for name in zero):
        assert params[block]["norm1"]["scale"].all()
        assert not params[block]["norm2"]["scale"].any()


def test_inverted_residual_adds_its_input_only_at_equal_shape():
    norm = partial(nn.BatchNorm, use_running_average=True)
    x = jnp.ones((1, 4, 4, 8))
    for width, stride, expected in ((8, 1, 1.0), (4, 1, 0.0), (8, 2, 0.0)):
        block = InvertedResidual(
            nn.Conv, norm, width, stride, expansion=2, project_all=False
        )
        variables = jax.eval_shape(block.init, jax.random.key(0), x)
        zeros = jax.tree.map(lambda v: jnp.zeros(v.shape), variables)
        y = jax.jit(block.apply)(zeros, x)
        assert y.shape == (1, 4 // stride, 4 // stride, width)
        np.testing.assert_array_equal(y, jnp.full_like(y, expected))


@pytest.mark.parametrize("constants", [(0.9, 1e-5), (0.99, 1e-3)])
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"lenet"}))
def test_every_network_uses_the_given_conv_and_norm(name, constants):
    made = set()
    momentum, epsilon = constants
    given = {"norm_momentum": momentum, "norm_epsilon": epsilon}

    class Conv(nn.Conv):
        def __call__(self, x):
            made.add("/".join(self.path))
            return super().__call__(x)

    class Norm(nn.BatchNorm):
        def __call__(self, x):
            made.add("/".join(self.path))
            assert (self.momentum, self.epsilon) == constants
            assert self.use_running_average
            return super().__call__(x)

    given = given if constants != (0.9, 1e-5) else {}
    network = create(name, num_classes=10, conv=Conv, norm=Norm, **given)
    variables, _ = abstract(network, (75, 75, 3))
    layers = {path.rpartition("/")[0] for path in paths(variables["params"])}
    assert layers - made <= {"fc", "aux/fc"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"lenet", "squeezenet"}))
def test_every_network_with_batch_norm_may_take_its_statistics_of_groups(name):
    """With the same paths; what comes out is another number in training alone."""
    plain, grouped = (
        create(name, num_classes=10, norm_group=group) for group in (0, 3)
    )
    images = jax.ShapeDtypeStruct((6, 75, 75, 3), jnp.float32)
    variables = jax.eval_shape(
        partial(plain.init, train=False), jax.random.key(0), images
    )
    assert variables == jax.eval_shape(
        partial(grouped.init, train=False), jax.random.key(0), images
    )

    def trained(images):
        options = {"mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(1)}}
        return jax.eval_shape(
            partial(grouped.apply, train=True, **options), variables, images
        )

    assert trained(images)[1] == {"batch_stats": variables["batch_stats"]}
    with pytest.raises(ValueError, match="norm_group: 3 does not divide a batch of 4"):
        trained(jax.ShapeDtypeStruct((4, 75, 75, 3), jnp.float32))
    jax.eval_shape(partial(grouped.apply, train=False), variables, images)


def test_small_images_are_refused():
    network = create("inception_v3", num_classes=10)
    with pytest.raises(ValueError, match="images too small"):
        abstract(network, (74, 74, 3))


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_cifar_resnet_refuses_other_depths(depth):
    network = create("cifar_resnet", num_classes=10, depth=depth)
    with pytest.raises(ValueError, match=f"depth {depth} is not 6n"):
        abstract(network, (32, 32, 3))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "lenet5",
            {},
            "unknown model 'lenet5'; known: cifar_resnet, gru, inception_v3, ",
        ),
        ("lenet", {"init": "zeros"}, "unknown init 'zeros'; known: glorot_normal, "),
        (
            "vgg16",
            {"norm_scale": "two"},
            "unknown norm_scale 'two'; known: ones, uniform",
        ),
        (
            "resnet50",
            {"depth": 50},
            "unknown field of resnet50 'depth'; known: width, zero_init_last",
        ),
        (
            "resnet20",
            {"depth": 32},
            "unknown field of resnet20 'depth'; known: width",
        ),
        (
            "mobilenet_v2",
            {"kernel_init": None},
            "unknown field of mobilenet_v2 'kernel_init'; known: none",
        ),
    ],
)
def test_create_refuses_unknown_names(name, arguments, message):
    with pytest.raises(ValueError) as error:
        create(name, num_classes=10, **arguments)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


class Plain(nn.Module):
    """No `Network`: it takes the number of classes, and a width."""

    num_classes: int
    width: int = 3

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(self.width)(x.reshape(len(x), -1))
        return nn.Dense(self.num_classes)(x)


class OfNetwork(Classifier):
    width: int = 3

    @nn.compact
    def __call__(self, x, train):
        return self.classify(x.reshape(len(x), -1))


@pytest.mark.parametrize(
    "made",
    [
        OfNetwork,
        partial(OfNetwork),
        lambda **fields: OfNetwork(**fields),
        lambda num_classes, width=3: OfNetwork(num_classes=num_classes, width=width),
        Plain,
        partial(Plain),
        lambda num_classes, width=3: Plain(num_classes, width),
    ],
)
def test_whatever_returns_a_module_is_a_model(monkeypatch, made):
    monkeypatch.setitem(models.MODELS, "mine", made)
    network = create("mine", num_classes=7, width=5)
    assert (network.num_classes, network.width) == (7, 5)
    assert create("mine", num_classes=7).width == 3


@pytest.mark.parametrize("made", [OfNetwork, Plain, lambda num_classes: None])
def test_a_model_of_ones_own_refuses_unknown_fields(monkeypatch, made):
    monkeypatch.setitem(models.MODELS, "mine", made)
    with pytest.raises(ValueError, match="unknown field of mine 'depth'"):
        create("mine", num_classes=7, depth=5)


@pytest.mark.parametrize(
    ("field", "argument"),
    [
        ("kernel_init", {"init": "glorot_normal"}),
        ("scale_init", {"norm_scale": "uniform"}),
        ("dtype", {"dtype": "bfloat16"}),
        ("norm_momentum", {"norm_momentum": 0.99}),
        ("norm_epsilon", {"norm_epsilon": 1e-3}),
        ("norm_group", {"norm_group": 2}),
    ],
)
def test_what_a_model_does_not_take_is_not_ignored(monkeypatch, field, argument):
    monkeypatch.setitem(models.MODELS, "mine", Plain)
    create("mine", num_classes=7, dtype="float32", conv=lean.Conv)
    with pytest.raises(ValueError, match=f"mine takes no '{field}', and keeps"):
        create("mine", num_classes=7, **argument)


def test_what_a_name_binds_is_what_it_means(monkeypatch):
    bound = {"norm": nn.GroupNorm, "norm_momentum": 0.5, "dtype": jnp.bfloat16}
    monkeypatch.setitem(models.MODELS, "mine", partial(OfNetwork, **bound))
    made = create("mine", num_classes=7, norm=lean.BatchNorm, width=4)
    assert {n: getattr(made, n) for n in bound} == bound
    assert (made.num_classes, made.width) == (7, 4)
    with pytest.raises(ValueError, match="mine takes no 'norm_momentum', and keeps"):
        create("mine", num_classes=7, norm_momentum=0.99)


class Named(nn.Module):
    """Its fields are called as some of `Classifier`, and are something else."""

    num_classes: int
    norm: str = "layer"
    conv: int = 3

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.num_classes)(x)


def test_a_name_is_not_taken_for_a_layer(monkeypatch):
    monkeypatch.setitem(models.MODELS, "mine", Named)
    layers = {"norm": lean.BatchNorm, "conv": lean.Conv}
    made = create("mine", num_classes=7, **layers)
    assert (made.norm, made.conv) == ("layer", 3)
    made = create("mine", num_classes=7, **layers | {"norm": "group"})
    assert (made.norm, made.conv) == ("group", 3)
    monkeypatch.setitem(models.MODELS, "mine", lambda norm=None: Named(7, norm=norm))
    assert create("mine", num_classes=7, **layers).norm is lean.BatchNorm


@pytest.mark.parametrize(
    ("init", "variance", "truncated"),
    [
        ("kaiming_normal", 2 / 1000, False),
        ("kaiming_normal_fan_out", 2 / 2000, False),
        ("glorot_normal", 1 / 1500, False),
        ("variance_scaling", 1 / 1000, True),
    ],
)
def test_initializers(init, variance, truncated):
    network = create("vgg11", num_classes=10, init=init)
    kernel = network.kernel_init(jax.random.key(0), (5, 5, 40, 80), jnp.float32)
    np.testing.assert_allclose(kernel.var(), variance, rtol=0.03)
    # A normal truncated at two deviations reaches 2.28 after its rescaling.
    assert bool((abs(kernel).max() < 2.3 * variance**0.5) == truncated)


def test_norm_scales():
    ones = create("resnet20", num_classes=10).scale_init
    np.testing.assert_array_equal(ones(jax.random.key(0), (3,)), [1, 1, 1])
    uniform = create("resnet20", num_classes=10, norm_scale="uniform").scale_init
    scale = uniform(jax.random.key(0), (1000,))
    assert 0 <= scale.min() < 0.01 and 0.99 < scale.max() < 1


def test_init_reaches_kernels_and_leaves_biases_zero():
    network = create("lenet", num_classes=10)
    init = jax.jit(partial(network.init, train=False))
    params = init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))["params"]
    np.testing.assert_allclose(params["fc1"]["kernel"].var(), 2 / 784, rtol=0.03)
    np.testing.assert_allclose(params["fc"]["kernel"].var(), 2 / 100, rtol=0.3)
    assert not params["fc1"]["bias"].any()


def test_norm_scale_reaches_every_normalisation():
    network = create("cifar_resnet", num_classes=2, depth=8, norm_scale="uniform")
    network = network.clone(kernel_init=nn.initializers.zeros)
    init = jax.jit(partial(network.init, train=False))
    params = init(jax.random.key(0), jnp.ones((1, 8, 8, 3)))["params"]
    scales = [
        leaf for path, leaf in tree_leaves_with_path(params) if "scale" in keystr(path)
    ]
    assert len(scales) == 1 + 3 * 2 + 2
    assert all(scale.std() > 0.1 for scale in scales)


@pytest.mark.parametrize(
    ("name", "num_classes", "size", "millions"),
    [
        ("resnet20", 10, 32, 40.81),
        ("vgg16", 10, 32, 313.20),
        ("mobilenet_v2_imagenet", 1000, 224, 300.77),
        pytest.param("resnet18", 1000, 224, 1814.07, marks=pytest.mark.slow),
        pytest.param("resnet50", 1000, 224, 4089.18, marks=pytest.mark.slow),
        pytest.param("inception_v3", 1000, 299, 5718.90, marks=pytest.mark.slow),
        ("squeezenet", 1000, 224, 818.92),
    ],
)
def test_multiply_adds(name, num_classes, size, millions):
    network = models.create(name, num_classes=num_classes)
    rows = summary.layers(network, spec(size, size, 3))
    total = sum(row.multiply_adds for row in rows)
    assert total / 1e6 == pytest.approx(millions, abs=0.01)


def test_summary_counts_what_masks_may_prune():
    rows = summary.layers(models.create("resnet20", num_classes=10), spec(32, 32, 3))
    assert sum(row.parameters for row in rows) == 272_474
    assert sum(row.prunable for row in rows) == 270_896
    assert rows[0][:5] == ("conv1", (32, 32, 16), 432, 432, 442_368)
    assert rows[1][:5] == ("norm1", (32, 32, 16), 32, 0, 0)
    assert rows[-1][:5] == ("fc", (10,), 650, 640, 640)


def test_a_convolution_costs_the_same_however_it_is_computed():
    """On a CPU, that of a kernel above its image is one matrix product."""
    rows = []
    for layers in ({}, {"conv": lean.Conv, "norm": lean.BatchNorm}):
        network = models.create("vgg11", num_classes=10, **layers)
        rows.append(summary.layers(network, spec(32, 32, 3)))
    assert rows[0] == rows[1]


def test_what_has_no_mask_is_not_prunable():
    network = models.create("lenet", num_classes=10)
    variables, _ = abstract(network.module, (28, 28, 1))
    kept = jax.eval_shape(partial(masks.full, exclude=["^fc/"]), variables["params"])
    rows = summary.layers(network, spec(28, 28, 1), kept)
    assert [row.prunable for row in rows] == [235_200, 30_000, 0]


def test_summary_table_is_aligned():
    network = models.create("lenet", num_classes=10)
    lines = summary.table(summary.layers(network, spec(28, 28, 1))).splitlines()
    assert lines == [
        "layer  output  parameters  prunable  multiply-adds",
        "fc1       300     235,500   235,200        235,200",
        "fc2       100      30,100    30,000         30,000",
        "fc         10       1,010     1,000          1,000",
        "total             266,610   266,200        266,200",
    ]
