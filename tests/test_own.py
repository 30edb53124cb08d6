"""A network, data and a task of one's own, from Python and from a config's file."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from functools import partial

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from tqdm import tqdm

from lth_jax import compare, data, lottery, models, report
from lth_jax import config as config_lib
from lth_jax.branch_masks import MASKS
from lth_jax.branches import BRANCHES, Branch
from lth_jax.errors import ConfigError, RunError
from lth_jax.lottery import loop, methods
from lth_jax.lottery.methods import METHODS
from lth_jax.named import give
from lth_jax.studies import STUDIES
from lth_jax.tasks import Unit
from lth_jax.workdir import environment

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X[:, 0] > 0) + 1 * (X[:, 1] > 0)
HEAD, TAIL = slice(60), slice(60, 90)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(4, 6, rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(6)(x)))


def init(key, inputs):
    one, two = jax.random.split(key)
    hidden = jax.random.normal(one, (inputs.shape[-1], 6))
    return {"hidden": hidden, "out": jax.random.normal(two, (6, 3))}, {}


def apply(params, state, inputs, *, train, key):
    return jax.nn.relu(inputs @ params["hidden"]) @ params["out"], state


def forward(x, is_training):
    return hk.Linear(3)(jax.nn.relu(hk.Linear(6)(x)))


def mlp(key):
    return eqx.nn.MLP(4, 3, width_size=6, depth=1, key=key)


NETWORKS = {
    "linen": Linen,
    "nnx": lambda: models.nnx(Nnx),
    "equinox": lambda: models.equinox(mlp),
    "haiku": lambda: models.haiku(hk.transform(forward)),
    "plain": lambda: models.Functions(init, apply),
}


def settings(**changes):
    config = config_lib.default()
    config.replicates = 2
    config.data.batch_size = 15
    config.train.length = "6it"
    config.prune.levels = 2
    config.measures = ("test",)
    config.update_from_flattened_dict(
        {k.replace("__", "."): x for k, x in changes.items()}
    )
    return config.lock()


def arrays(x=X, y=Y):
    return data.from_arrays((x[:60], y[:60]), (x[60:], y[60:]))


FRAMEWORKS = ("nnx", "linen", "equinox", "haiku", "plain")


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_network_of_any_framework_has_controls_studies_and_a_report(
    framework, tmp_path
):
    config = settings(copies=2, studies=("stability", "instability"), study__points=3)
    network = NETWORKS[framework]()
    run = lottery.run(config, tmp_path / "run", network=network, data=arrays())
    assert run.diverged == []
    assert {*run.rows["branch"]} == {*config.branches, "dense"}
    assert {"test_accuracy", "distance", "instability"} <= {*run.rows["measure"]}
    assert run.figures.accuracy().axes
    assert run.figures.instability(split="test").axes
    assert str(run.table()) in repr(run)
    again = lottery.run(config, tmp_path / "run", network=network, data=arrays())
    assert len(again.rows) == len(run.rows)


@pytest.mark.slow
def test_config_json_keeps_names_and_plan_json_what_the_error_is(tmp_path):
    lottery.run(settings(), tmp_path, network=models.nnx(Nnx), data=arrays())
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model"]["name"], config["data"]["name"]) == ("Nnx", "Dataset")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["task"]["error"] == "accuracy"
    assert plan["measures"] == ["test_accuracy", "test_loss"]


@pytest.mark.slow
def test_other_data_are_another_run(tmp_path):
    lottery.run(settings(), tmp_path, network=Linen(), data=arrays())
    with pytest.raises(ConfigError, match="another data set .*sha256"):
        lottery.run(settings(), tmp_path, network=Linen(), data=arrays(x=X + 1))


def test_regression_and_a_task_of_ones_own_reach_the_report(tmp_path):
    class Absolute:
        units = {"absolute_error": Unit("metres")}
        error = "absolute_error"

        def losses(self, outputs, batch):
            return jnp.abs(outputs[:, 0] - batch["targets"])

        def metrics(self, outputs, batch):
            return {"absolute_error": self.losses(outputs, batch)}

    of = arrays(y=X[:, 0] * 2)
    run = lottery.run(
        settings(studies=("onset",), study__onset=99.0),
        tmp_path / "own",
        network=Linen(),
        data=of,
        task=Absolute(),
    )
    assert "test absolute error in metres" in run.table()
    onset = run.rows[run.rows["measure"] == "reached"]
    assert (onset["value"] == 1).all()
    found = report.matching(run.rows)
    better = found["difference"] <= 0
    assert (found["reaches_dense"] == better).all()
    page = run.write().read_text()
    assert "≤ reaches dense" in page
    with pytest.raises(ConfigError, match=r"config\.task: .*targets are \[2\]"):
        lottery.run(
            settings(), tmp_path / "r", network=Linen(), data=of, task="regression"
        )


@pytest.mark.slow
def test_inputs_may_be_a_tree_of_arrays(tmp_path):
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(jnp.concatenate([x["a"], nn.Embed(5, 2)(x["b"])], -1))

    inputs = {"a": X, "b": RNG.integers(5, size=90).astype(np.uint8)}
    parts = [
        jax.tree.map(lambda x, s=s: x[s], inputs) for s in (slice(60), slice(60, 90))
    ]
    of = data.from_arrays((parts[0], Y[:60]), (parts[1], Y[60:]))
    run = lottery.run(settings(), tmp_path, network=Two(), data=of)
    assert "ticket" in run.table()
    layers = {*run.rows["layer"].dropna()}
    assert layers == {"Dense_0/kernel", "Embed_0/embedding"}


@pytest.mark.slow
def test_an_augmentation_is_of_the_key_and_in_training_alone(tmp_path):
    def zero(key, inputs):
        return jnp.where(jax.random.bernoulli(key), 0 * inputs, 0 * inputs)

    of = data.from_arrays((X[:60], Y[:60]), (X[60:], Y[60:]), augment=zero)
    plain = lottery.run(settings(), tmp_path / "a", network=Linen(), data=arrays())
    run = lottery.run(settings(), tmp_path / "b", network=Linen(), data=of)
    losses = [
        r.rows[r.rows["measure"] == "train_loss"]["value"].to_numpy()
        for r in (plain, run)
    ]
    assert (losses[0] != losses[1]).all()


class Drawing(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x) + np.random.rand()  # noqa: NPY002


class Counting(nn.Module):
    """Its state changes its type."""

    @nn.compact
    def __call__(self, x, train):
        seen = self.variable("batch_stats", "seen", lambda: jnp.zeros(2))
        if train:
            seen.value = jnp.ones(3)
        return nn.Dense(3)(x)


class Scale(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x[:, :3] * self.param("scale", nn.initializers.ones, (1,))[None]


@pytest.mark.parametrize(
    ("network", "of", "task", "said"),
    [
        (Drawing(), arrays(), None, r"config\.model: .*not a pure function"),
        (Counting(), arrays(), None, r"config\.model: apply returns another state"),
        (Scale(), arrays(), None, "nothing is left to prune"),
        (
            Linen(),
            arrays(y=Y + 3),
            None,
            r"config\.data \(train\): targets are from 0 to 5",
        ),
        (Linen(), arrays(), "sequence", r"config\.task: float32\[2, 3\]"),
        (Linen(), arrays(), "regression", r"config\.task: .* which it must return"),
        (3, arrays(), None, "is no network"),
        (Linen(), (X, Y), None, "gives a tuple, not a data set"),
        (Linen(), arrays(), "nonsense", r"config\.task\.name: 'nonsense'"),
        (Linen(), arrays(), 3, "is no task"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line_before_anything_is_written(
    network, of, task, said, tmp_path
):
    with pytest.raises(RunError, match=said) as raised:
        lottery.run(settings(), tmp_path / "run", network=network, data=of, task=task)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "results.jsonl").exists()


def test_a_name_of_the_package_is_not_taken():
    class lenet(Linen):  # noqa: N801
        pass

    assert give(settings(), network=lenet()).model.name == "own_lenet"


def test_synflow_of_integers_says_that_it_cannot_be(tmp_path):
    class Tokens(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.Embed(9, 4)(x).mean(1))

    of = arrays(x=RNG.integers(9, size=(90, 4)))
    config = settings(prune__method="synflow", prune__schedule="one_shot")
    with pytest.raises(ConfigError, match=r"config\.prune\.method: .* int32"):
        lottery.run(config, tmp_path, network=Tokens(), data=of)
    assert not [*tmp_path.iterdir()]


SCRIPT = """
import os, signal, sys
sys.path[:0] = {path!r}
import test_own
from lth_jax import lottery
from lth_jax.workdir import folder
if len(sys.argv) > 3:
    saved, left = folder.Workdir.finish, [int(sys.argv[3])]
    def finish(*arguments, **options):
        saved(*arguments, **options)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    folder.Workdir.finish = finish
network = test_own.NETWORKS[sys.argv[1]]()
lottery.run(test_own.settings(), sys.argv[2], network=network, data=test_own.arrays())
"""


@pytest.mark.slow
@pytest.mark.parametrize("framework", NETWORKS)
def test_each_framework_goes_on_after_a_kill_to_the_last_bit(framework, tmp_path):
    def call(folder, *more):
        script = SCRIPT.format(path=[os.path.dirname(__file__)])
        command = [sys.executable, "-c", script, framework, str(tmp_path / folder)]
        return subprocess.run([*command, *more], check=False).returncode

    assert call("whole") == 0
    assert call("killed", "2") == -signal.SIGKILL
    assert call("killed") == 0
    whole, killed = (report.load(tmp_path / name) for name in ("whole", "killed"))
    keys = [c for c in whole if c not in ("run", "value")]
    order = [frame.sort_values(keys, ignore_index=True) for frame in (whole, killed)]
    assert order[0][[*keys, "value"]].equals(order[1][[*keys, "value"]])
    masks = [
        sorted((tmp_path / name).glob("checkpoints/levels/*/about/metadata"))
        for name in ("whole", "killed")
    ]
    one, two = ([json.loads(p.read_text())["masks"] for p in of] for of in masks)
    assert one == two != []


def test_modular_addition_is_all_sums():
    sums = data.SOURCES["modular_addition"]()
    for split in (sums.train, sums.test):
        assert (split.inputs.sum(1) % 67 == split.targets).all()
        assert (split.inputs[:, 0] > split.inputs[:, 1]).all()
    both = np.concatenate([sums.train.inputs, sums.test.inputs])
    assert len({*map(tuple, both.tolist())}) == 67 * 66 // 2 == 2_211
    config = config_lib.load("configs/grokking.py")
    assert config.data.batch_size == len(sums.train)


class Rounded:
    units = {"error": Unit()}
    error = "error"

    def losses(self, outputs, batch):
        return jnp.abs(outputs[:, 0] - batch["targets"])

    def metrics(self, outputs, batch):
        return {"error": self.losses(outputs, batch)}


@pytest.mark.parametrize("what", [*NETWORKS, "task", "augment"])
def test_what_is_given_counts_as_code_whatever_it_is_wrapped_in(what):
    """Of a plain data set and the package's LeNet, but for one object."""
    objects = {"data": arrays(y=X[:, 0] if what == "task" else Y)}
    if what == "augment":
        of = ((X[:60], Y[:60]), (X[60:], Y[60:]))
        objects["data"] = data.from_arrays(*of, augment=lambda key, inputs: inputs)
    objects |= {"network": NETWORKS[what]()} if what in NETWORKS else {}
    objects |= {"task": Rounded()} if what == "task" else {}
    config = give(settings(), **objects)
    _, experiment = loop.build(config)
    assert "test_own.py" in loop.environment.code(loop._own(config, experiment))


class Given:
    def __init__(self, scale, note=None):
        self.scale, self.calls = scale, note

    def make(self):
        return self.scale


@dataclasses.dataclass
class Sized:
    width: int = 8
    act: object = nn.relu
    drop: object = 0.1
    parent: object = None


def closing(share):
    return lambda rngs: share


def transformed(width):
    return models.haiku(hk.transform(lambda x: hk.Linear(width)(x)))


VALUES = {
    "a field": (lambda: Sized(9), lambda: Sized(10), "network.width"),
    "a function": (Sized, lambda: Sized(act=nn.gelu), "network.act"),
    "nothing": (Sized, lambda: Sized(drop=None), "network.drop"),
    "what is closed over": (
        lambda: closing(0.1),
        lambda: closing(0.9),
        "network.share",
    ),
    "an argument": (lambda: partial(Sized, 9), lambda: partial(Sized, 10), "network.0"),
    "an attribute": (lambda: Given(1.0), lambda: Given(2.0), "network.scale"),
    "a method": (
        lambda: Given(1.0).make,
        lambda: Given(2.0).make,
        "network.self.scale",
    ),
    "a key": (
        lambda: Sized(drop={"rate": 0.1}),
        lambda: Sized(drop={"rate": 0.2}),
        "network.drop.rate",
    ),
    "deeper": (
        lambda: models.nnx(closing(0.1)),
        lambda: models.nnx(closing(0.9)),
        "network.make.share",
    ),
    "a long one": (
        lambda: Given("a" * 99),
        lambda: Given("a" * 98 + "b"),
        "network.scale",
    ),
}


@pytest.mark.parametrize("what", VALUES)
def test_the_values_that_objects_are_made_with_count(what):
    one, other, where = VALUES[what]
    found, same, differs = (
        environment.values({"network": make()}) for make in (one, one, other)
    )
    assert found == same
    assert compare.changed(found, differs) == [f"value of {where}"]
    assert all(len(value) <= 64 for value in found.values())


def test_what_a_framework_wraps_counts_by_what_it_closes_over():
    one, other = (environment.values({"network": transformed(n)}) for n in (3, 4))
    (name,) = compare.changed(one, other)
    assert name.endswith(".width")


def test_values_that_are_as_by_default_or_come_later_do_not_count():
    plain = environment.values({"network": Sized()})
    assert plain == environment.values({"network": Sized(int("8"), parent=3)})
    assert plain == {"value of network": "Sized"}
    found = [environment.values({"network": Given(1.0, note)}) for note in "ab"]
    assert found[0] == found[1]  # of `calls`, by which it is not made
    assert environment.values({"network": json.JSONEncoder()}) == {}  # installed
    assert environment.values({"network": np.ones(3)}) == {}


def test_what_is_installed_beside_another_python_has_no_values(monkeypatch):
    monkeypatch.setattr(environment, "_installed", list)
    environment._is_followed.cache_clear()
    assert environment.values({"network": tqdm(disable=True)}) == {}
    environment._is_followed.cache_clear()


def test_what_is_closed_over_and_empty_has_no_value():
    def outer(width):
        def inner():
            return width, later

        if width < 0:
            later = None
        return inner

    found = environment.values({"network": outer(3)})
    assert found == {"value of network": "inner", "value of network.width": "3"}


def test_objects_that_end_nowhere_or_are_of_no_module_have_values():
    class Endless:
        def __getattr__(self, name):
            return Endless()

    loop, chain = [1], None
    loop.append(loop)
    for _ in range(3000):
        chain = [chain, {}]
    made = type("Made", (Given,), {"__module__": "<run_path>"})
    for x in (Endless(), loop, chain, made(1.0), [{} for _ in range(10**5)]):
        assert len(environment.values({"network": x})) < 5000
    assert environment.values({"n": made(1.0)})["value of n.scale"] == "1.0"


def test_a_folder_is_refused_to_a_network_of_other_values(tmp_path):
    def run(width):
        lottery.run(settings(), tmp_path, data=arrays(), network=Wide(width))

    class Wide(nn.Module):
        share: float

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(self.share * x)

    run(0.5)
    run(0.5)
    with pytest.raises(ConfigError, match="other code: value of network.network.share"):
        run(0.25)


@pytest.mark.parametrize("what", ["branch", "masks", "method", "study", "augment"])
def test_so_it_is_to_a_branch_or_a_method_of_other_values(what, tmp_path, monkeypatch):
    def run(share):
        of = dict.fromkeys(("branch", "masks", "method", "study", "augment"), 0.75)
        of[what] = share
        branch = Branch("k", "k", masks="mine", lengths=of["branch"])
        monkeypatch.setitem(BRANCHES, "mine", branch)
        monkeypatch.setitem(MASKS, "mine", partial(shuffled, share=of["masks"]))
        method = methods.by_score(partial(scored, share=of["method"]))
        monkeypatch.setitem(METHODS, "mine", method)
        monkeypatch.setitem(STUDIES, "mine", partial(studied, share=of["study"]))
        jitter = partial(jittered, share=of["augment"])
        own = {
            "network": Linen(),
            "data": dataclasses.replace(arrays(), augment=jitter),
        }
        named = {"studies": ("mine",), "branches": ("ticket", "mine")}
        config = give(settings(prune__method="mine", **named), **own)
        return loop._made(config, loop.build(config)[1])

    def shuffled(run, ticket, key, share):
        return run.masks(ticket)

    def scored(*_, share):
        return share

    def studied(run, share):
        yield from ()

    def jittered(key, inputs, share):
        return inputs

    one, same, other = (environment.values(run(share)) for share in (0.5, 0.5, 0.25))
    assert one == same
    assert len(compare.changed(one, other)) == 1


def test_the_objects_of_a_config_count_as_code():
    def quadrants():
        return arrays()

    config = give(settings(), network=models.nnx(Nnx), data=quadrants)
    _, experiment = loop.build(config)
    files = {
        os.path.basename(name)
        for name in loop.environment.code(loop._own(config, experiment))
    }
    assert "test_own.py" in files
