"""Experiments: what a config comes to, and what it cannot."""

import runpy

import jax
import numpy as np
import pytest

from lth_jax import config as config_lib
from lth_jax import lottery, models
from lth_jax.config import fields
from lth_jax.errors import ConfigError, DataError
from lth_jax.train import experiment

CONVOLUTIONAL = {
    "model.name": "cifar_resnet",
    "model.options": {"depth": 8, "width": 2},
}


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    """The default config on digits with some fields changed."""
    data_dir = str(tmp_path_factory.getbasetemp() / "tfds")

    def configure(**changes):
        config = config_lib.default()
        config.data.dir = data_dir
        for name, value in changes.items():
            if name.endswith("options"):
                config[name.split(".")[0]].options = value
            else:
                config.update_from_flattened_dict({name: value})
        return config.lock()

    return configure


@pytest.fixture(scope="module")
def build(configure):
    """Build the experiment of a run."""

    def build(**changes):
        _, made = lottery.build(configure(**changes))
        return made

    return build


def test_without_a_run_an_experiment_is_built_on_all_devices(configure):
    """A network is trained by hand, as a notebook may."""
    config = configure(**{"replicates": 1, "branches": ("ticket",)})
    for together, number in ((None, 2), (1, 1), (2, 2), (9, 2)):
        made = experiment.build(config, together)
        assert made.program.layout.devices == tuple(jax.devices()[:number])


def test_a_config_is_checked_once(configure, monkeypatch):
    asked = []
    check = fields.check
    monkeypatch.setattr(fields, "check", lambda c: asked.append(c) or check(c))
    lottery.build(configure())
    assert len(asked) == 1


def test_what_may_be_pruned_is_counted_by_layer(build):
    hidden = {"fc1/kernel": 19_200, "fc2/kernel": 30_000}
    assert build().prunable == hidden | {"fc/kernel": 1_000}
    assert build(**{"prune.keep": ("^fc/",)}).prunable == hidden | {"fc/kernel": 1_000}
    assert build(**{"prune.exclude": ("^fc/",)}).prunable == hidden
    biases = {"fc1/bias": 300, "fc2/bias": 100}
    made = build(**{"prune.exclude": ("^fc/",), "prune.include": ("bias",)})
    assert made.prunable == hidden | biases
    assert sum(layer.prunable for layer in made.layers) == 49_600


def test_a_plan_has_the_steps_of_its_experiment(configure):
    lengths = {"train.length": "38it", "rewind.steps": ("1ep", "0it")}
    plan, made = lottery.build(configure(**lengths, **{"prune.admm.interval": "5it"}))
    assert (plan.length, plan.rewind_steps, plan.interval) == (38, (0, 19), 5)
    assert made.length == plan.length


def test_lengths_are_steps_of_the_data(build):
    """1,198 training digits: 19 whole batches of 60."""
    made = build(
        **{
            "train.length": "2ep",
            "rewind.steps": ("1ep", "0it", "19it"),
            "optim.warm_up": "1ep",
            "optim.schedule": "step",
            "optim.milestones": ("1ep5it",),
        }
    )
    assert made.length == 38
    assert made.rewind_steps == (0, 19)
    assert made.evaluate_every == 38
    rate = made.program.schedule
    assert [float(rate(i)) for i in (0, 19, 24)] == pytest.approx([0, 0.1, 0.01])


def test_a_wrapped_epoch_has_one_step_more(build):
    assert build(**{"data.last": "wrap", "train.length": "1ep"}).length == 20


def test_stops_are_the_same_wherever_a_training_begins(build):
    made = build(**{"train.length": "10it", "train.evaluate_every": "4it"})
    assert made.stops(0, 10) == [4, 8, 10]
    assert made.stops(4, 10) == [8, 10]
    assert made.stops(5, 10) == [8, 10]
    assert made.stops(0, 8) == [4, 8]
    assert made.stops(0, 0) == []


def test_dense_networks_take_many_steps_a_call(build):
    program = build().program
    assert program.steps_per_call > 1
    assert program.layout.members == 1  # at a time on each core
    assert program.network.module.axis_name is None


def test_convolutions_on_a_cpu_take_one_step_a_call_and_no_company(build):
    program = build(**CONVOLUTIONAL).program
    assert (program.steps_per_call, program.layout.members) == (1, 1)
    assert build(**CONVOLUTIONAL, **{"train.members": 3}).program.layout.members == 3


@pytest.mark.parametrize(
    ("layout", "synchronised", "axis"),
    [("fleet", True, None), ("data", True, "batch"), ("data", False, None)],
)
def test_batch_statistics_are_synchronised_as_configured(
    build, layout, synchronised, axis
):
    made = build(
        **{"train.layout": layout, "train.sync_batch_stats": synchronised},
        **CONVOLUTIONAL,
    )
    assert made.program.network.module.axis_name == axis


def test_devices_are_all_or_the_first_few(build):
    assert build().program.layout.devices == tuple(jax.devices())
    assert build(**{"train.devices": 1}).program.layout.devices == (jax.devices()[0],)


def test_there_are_no_more_devices_than_networks(build):
    """Others would hold the data, too."""
    alone = {"replicates": 1, "branches": ("ticket",)}
    assert build(**alone).program.layout.devices == (jax.devices()[0],)
    both = alone | {"rewind.steps": ("0it", "1it")}
    assert build(**both).program.layout.devices == tuple(jax.devices())
    compared = alone | {"studies": ("connectivity",)}  # many networks on a path
    assert build(**compared).program.layout.devices == tuple(jax.devices())
    shared = alone | {"train.layout": "data"}
    assert build(**shared).program.layout.devices == tuple(jax.devices())


def test_images_may_stay_between_0_and_1(build):
    made = build(**{"data.standardise": False})
    assert (made.data["mean"], made.data["std"]) == ([0.0], [1.0])
    program = made.program
    seed = jax.numpy.uint32(0)
    batch = program.feed.batch(program.supply(0, 0), seed, 0)
    assert (batch["inputs"].min(), batch["inputs"].max()) == (0, 1)


def test_images_may_have_unit_norm_in_training_and_in_evaluation(build):
    made = build(**{"data.standardise": False, "data.unit_norm": True})
    assert made.data["unit_norm"]
    program = made.program
    batch = program.feed.batch(program.supply(0, 0), jax.numpy.uint32(0), 0)
    norms = jax.numpy.linalg.norm(batch["inputs"].reshape(60, -1), axis=1)
    assert norms.tolist() == pytest.approx([1] * 60)
    evaluators = (*made.evaluators.values(), *made.path.values())
    assert [e.prepare.keywords["unit_norm"] for e in evaluators] == [True] * 3
    assert "unit_norm" not in build().data


def shapes(made):
    return jax.eval_shape(made.initialise, jax.random.key(0))


def test_decay_belongs_to_the_state_and_no_decay_leaves_it_out(build):
    assert shapes(build(**{"optim.weight_decay": 0.01})).weight_decay.shape == ()
    assert shapes(build()).weight_decay is None


def test_batch_norm_has_the_configs_constants(build):
    """Statistics on a path are recomputed by one that forgets what was before."""
    usual = build(**CONVOLUTIONAL)
    model = usual.program.network.module
    assert (model.norm_momentum, model.norm_epsilon) == (0.9, 1e-5)
    assert usual.refresh.program is usual.program
    constants = {"model.norm_momentum": 0.99, "model.norm_epsilon": 0.5}
    made = build(**CONVOLUTIONAL, **constants)
    model, other = made.program.network.module, made.refresh.program.network.module
    assert (model.norm_momentum, model.norm_epsilon) == (0.99, 0.5)
    assert (other.norm_momentum, other.norm_epsilon) == (0.9, 0.5)
    mean = build(**CONVOLUTIONAL, **{"study.batch_stats": "recompute_mean"}).refresh
    assert (mean.mean, mean.program.network.module.norm_momentum) == (True, 0)
    assert not usual.refresh.mean


def test_examples_on_a_path_are_of_the_whole_split(build):
    """Sorted by class, the first would be of few classes; each time the same."""
    made = build(**{"study.examples": 50})
    targets = np.asarray(made.program.supply(0, 0)["targets"])
    some = np.sort(np.random.RandomState(0).permutation(len(targets))[:50])
    assert some[-1] > len(targets) - 100
    assert made.path["train"].split.targets.tolist() == targets[some].tolist()


def test_a_study_that_waits_for_an_error_needs_it_measured(build):
    waits = {"studies": ("onset",)}
    build(**waits)
    with pytest.raises(ConfigError, match=r"^config\.studies: 'onset' needs 'test_acc"):
        build(**waits, **{"measures": ("test_loss",)})


def test_batch_statistics_may_be_those_of_groups_which_costs_nothing_else(build):
    usual, made = (
        build(**CONVOLUTIONAL),
        build(**CONVOLUTIONAL, **{"model.norm_group": 15}),
    )
    assert made.program.network.module.norm_group == 15
    assert made.layers == usual.layers


def test_excluded_parameters_are_never_pruned(build):
    assert shapes(build()).masks["fc"]["kernel"].shape == (100, 10)
    made = build(**{"prune.exclude": ("^fc/",)})
    assert shapes(made).masks["fc"]["kernel"] is None
    assert shapes(made).masks["fc1"]["kernel"].shape == (64, 300)


def test_held_out_examples_are_a_split_of_their_own(build):
    assert list(build().evaluators) == ["test"]
    made = build(**{"data.validation": 98})
    sizes = {name: len(e.split) for name, e in made.evaluators.items()}
    assert sizes == {"validation": 98, "test": 599}
    assert made.program.feed.steps_per_epoch == 1100 // 60


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"rewind.steps": ("0it", "2ep"), "train.length": "38it"},
            "config.rewind.steps: '2ep' is step 38, but training ends at step 38",
        ),
        (
            {"optim.warm_up": "99999999999it"},
            "config.optim.warm_up: is more than 1,000,000,000 steps",
        ),
        (
            {
                "optim.schedule": "step",
                "optim.milestones": ("5it", "99999999999it"),
            },
            "config.optim.milestones: is more than 1,000,000,000 steps",
        ),
        ({"train.length": "0it"}, "config.train.length: must be at least one step"),
        (
            {"train.evaluate_every": "0ep"},
            "config.train.evaluate_every: must be at least one step",
        ),
        (
            {"data.batch_size": 1199},
            "config.data.batch_size: 1199 is more than the 1198 training examples",
        ),
        (
            {"train.layout": "data", "data.batch_size": 61},
            "config.data.batch_size: 61 cannot be divided over 2 devices; "
            "change it or config.train.devices",
        ),
        ({"train.devices": 3}, "config.train.devices: 3, there are 2"),
        (
            {"train.accumulate": 7},
            "config.train.accumulate: 7 microbatches cannot divide the 60 examples of "
            "a device",
        ),
        (
            {"model.norm_group": 7},
            "config.model.norm_group: 7 cannot divide the 60 examples that a device "
            "takes at a time",
        ),
        (
            {"model.norm_group": 20, "train.accumulate": 2},
            "config.model.norm_group: 20 cannot divide the 30 examples that a device "
            "takes at a time",
        ),
        (
            {"prune.exclude": ("conv",)},
            "config.prune.exclude: 'conv' matches no prunable parameter; they are "
            "fc/kernel, fc1/kernel, fc2/kernel",
        ),
        (
            {"prune.include": ("scale",)},
            "config.prune.include: 'scale' matches no floating-point parameter; they "
            "are fc/bias, fc/kernel, fc1/bias, fc1/kernel, fc2/bias, fc2/kernel",
        ),
        (
            {"prune.exclude": ("(",)},
            "config.prune.exclude: missing ), unterminated subpattern at position 0",
        ),
        (
            {"model.options": {"width": 3}},
            "config.model.options: unknown field of lenet 'width'; known: dropout, "
            "widths",
        ),
        (
            {"model.name": "cifar_resnet", "model.options": {"depth": 9}},
            "config.model: depth 9 is not 6n + 2 for an n >= 1",
        ),
        (
            {"model.name": "vgg11"},
            "config.model: images too small: they are reduced to shape (1, 0, 0, 512)",
        ),
        (
            {"optim.options": {"momentun": 0.9}},
            "config.optim.options: sgd() got an unexpected keyword argument 'momentun'",
        ),
        (
            {"prune.method": "admm", "optim.schedule": "linear"},
            "config.optim.schedule: ends at 0, where 'admm' goes on; see end_value",
        ),
        (
            {"branches": ("ticket", "fine_tune_small"), "optim.schedule": "linear"},
            "config.optim.schedule: ends at 0, where 'fine_tune_small' goes on; see "
            "end_value",
        ),
        (
            {"prune.levels": 100, "prune.fraction": 0.5},
            "config.prune: level 16: nothing would be left of 50200 weights",
        ),
        (
            {"prune.densities": (0.5, 0.00001)},
            "config.prune: level 2: nothing would be left of 50200 weights",
        ),
        (
            {"prune.keep": ("conv",)},
            "config.prune.keep: 'conv' matches no prunable parameter; they are "
            "fc/kernel, fc1/kernel, fc2/kernel",
        ),
        (
            {"prune.keep": ("fc",)},
            "config.prune.keep: nothing is left to prune: no kernel that is not "
            "excluded",
        ),
        (
            {"prune.keep": ("^fc/",), "prune.densities": (0.5, 0.01)},
            "config.prune.keep: level 2: 502 weights would be left in all, but 1,000 "
            "are never pruned",
        ),
        (
            {"prune.keep": ("^fc2/",), "prune.fraction": 0.5},
            "config.prune.keep: level 1: 25,100 weights would be left in all, but "
            "30,000 are never pruned",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_run_is_said_in_one_line(build, changes, said):
    with pytest.raises(ConfigError) as caught:
        build(**changes)
    hint = ". Did you mean 'momentum'?"  # of Python 3.13
    assert str(caught.value).removesuffix(hint) == said


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("init", "raise KeyError('mine')"),
        ("init", "return x.reshape(7, 7)"),
        ("training", "raise ValueError('mine')"),
        ("evaluation", "import jax; return jax.lax.scan(lambda c, x: 0 / 0, 0, x)"),
        ("creation", "raise TypeError('mine')"),
    ],
)
def test_an_error_of_a_users_network_names_the_line(
    build, monkeypatch, tmp_path, where, source
):
    """Wherever it is raised, before anything is trained."""
    file = tmp_path / "mine.py"
    conditions = {
        "init": "self.is_initializing()",
        "training": "train",
        "evaluation": "not train and not self.is_initializing()",
        "creation": "False",
    }
    lines = [
        "from flax import linen as nn",
        "from lth_jax.models.lenet import LeNet",
        "def create(**fields):",
        f"    if {where == 'creation'}:",
        "        fail(0)",
        "    return Mine(**fields)",
        "class Mine(LeNet):",
        "    @nn.compact",
        "    def __call__(self, x, train):",
        f"        x = fail(x) if {conditions[where]} else x",
        "        return self.classify(x.reshape(len(x), -1))",
        "def fail(x):",
        f"    {source}",
    ]
    file.write_text("\n".join(lines))
    monkeypatch.setitem(models.MODELS, "mine", runpy.run_path(str(file))["create"])
    with pytest.raises(ConfigError) as caught:
        build(**{"model.name": "mine"})
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f" ({file}, line {len(lines)})")


def test_layers_may_become_empty_as_long_as_the_network_does_not(build):
    """Halved six times, layers of 64 and 10 weights come to 1 and 0."""
    layers = {"prune.scope": "layer", "model.options": {"widths": (1,)}}
    build(**layers, **{"prune.fraction": 0.5, "prune.levels": 6})
    with pytest.raises(ConfigError, match="nothing would be left of 74 weights"):
        build(**layers, **{"prune.fraction": 0.5, "prune.levels": 7})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data.name": "digit"}, r"config\.data\.name: .* did you mean 'digits'\?.*"),
        ({"data.validation": 1198}, r"config\.data\.validation: 1198 is not in .*"),
    ],
)
def test_data_that_cannot_be_had_is_named_by_its_field(build, changes, said):
    with pytest.raises(DataError, match=rf"^{said}$"):
        build(**changes)
