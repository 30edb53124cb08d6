"""Mutated configs: each can be run, or one line says which field is wrong."""

import copy
import functools
import random
import re

import jax
import pytest
from ml_collections import ConfigDict

from lth_jax import check, lottery
from lth_jax import config as config_lib
from lth_jax.data import sources
from lth_jax.errors import ConfigError, DataError, Diverged

SHORT = {
    "replicates": 2,
    "model.options": {"widths": (20,)},
    "train.length": "40it",
    "prune.levels": 2,
    "study.points": 3,
    "study.examples": 100,
}
BASES = (
    {},
    {
        "optim.name": "adam",
        "optim.options": {"b1": 0.8},
        "sweep.learning_rate": (0.1, 0.2),
        "sweep.weight_decay": (0.0, 1e-4),
        "branches": ("ticket", "cross_lr", "fine_tune"),
        "data.validation": 100,
        "measures": ("validation_accuracy",),
    },
    {
        "train.layout": "data",
        "optim.options": {"momentum": 0.9, "nesterov": True},
        "optim.schedule": "step",
        "optim.milestones": ("1ep", "30it"),
        "optim.weight_decay": 1e-3,
        "prune.densities": (0.5, 0.1),
        "prune.exclude": ("^fc/",),
        "rewind.steps": ("0it", "1ep"),
        "branch_levels": (1, 2),
    },
    {
        "model.name": "cifar_resnet",
        "model.options": {"depth": 8, "width": 2},
        "optim.schedule": "exponential",
        "optim.end_value": 1e-3,
        "train.evaluate_every": "1ep",
        "dense_branches": ("dense", "long"),
        "copied_branches": ("ticket", "dense"),
        "studies": ("stability", "instability"),
        "copies": 2,
    },
)
JUNK = (
    *(None, True, -1, 0, 1, 7, 2**31, 2**70, -(2**70), -0.5, 0.5, 1e-300, 1e300),
    *(float("nan"), float("inf"), -float("inf")),
    *("", "x", "5ep", "0it", "ticket", "a\nb", "(", "é" * 300, "../x", b"x", object()),
    *((), (1,), (0.5,), ("x",), ("0it",), (None,), ((1,),), (True,), [1], {}, {"a": 1}),
)


def tree_of(base):
    made = config_lib.default()
    for name, value in (SHORT | base).items():
        *parents, last = name.split(".")
        node = functools.reduce(getattr, parents, made)
        with node.unlocked():
            setattr(node, last, ConfigDict(value) if isinstance(value, dict) else value)
    return made.to_dict()


def nodes(tree, path=()):
    for name, value in tree.items():
        yield (*path, name), tree
        if isinstance(value, dict):
            yield from nodes(value, (*path, name))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Away from the checkout: a mutated folder is one where a test runs."""
    monkeypatch.chdir(tmp_path)


def mutate(tree, draw):
    """Change a tree at a random field in a random way; return the field and the way."""
    path, node = draw.choice(list(nodes(tree)))
    name = path[-1]
    value = node[name]

    def nearly():
        if isinstance(value, str) and value:
            cut = draw.randrange(len(value))
            return value[:cut] + value[cut + 1 :]
        if isinstance(value, tuple) and value:
            return draw.choice([value[:-1], value * 2, (*value, draw.choice(JUNK))])
        if isinstance(value, int | float):
            return draw.choice([-value, value + 1, value * 1000, str(value), (value,)])
        return draw.choice(JUNK)

    ways = {
        "junk": lambda: node.update({name: draw.choice(JUNK)}),
        "nearly": lambda: node.update({name: nearly()}),
        "less": lambda: node.pop(name),
        "more": lambda: node.update({name + "s": value}),
        "other": lambda: node.update({f"{name[:-1]}": node.pop(name)}),
    }
    way = draw.choices(list(ways), weights=(4, 4, 1, 1, 1))[0]
    ways[way]()
    return f"{'.'.join(path)} {way} {node.get(name, 'gone')!r}"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Load digits once, from wherever a config says that they are."""
    folder = str(tmp_path_factory.getbasetemp() / "tfds")
    original = sources.load

    @functools.cache
    def load(name, **options):
        return original(name, data_dir=folder, **options)

    return lambda name, data_dir, **options: load(name, **options)


def answer(tree):
    """Build what a config says; return that, and what is wrong with the answer."""
    try:
        return lottery.build(ConfigDict(tree)), None
    except (ConfigError, DataError) as error:
        if not re.fullmatch(r"config\.[\w.()]+: .+", str(error)):
            return None, f"not one line that names a field: {str(error)!r}"
    except Exception as error:
        return None, f"{type(error).__name__}: {str(error)[:200]}"
    return None, None


def outcome(built, tree, folder):
    """Run what a config says, unless that takes long; return what is wrong."""
    config, plan = ConfigDict(tree), built[0]
    if sum(map(plan.steps, range(plan.levels + 1))) > 3000:
        return None
    try:
        lottery.run(config, folder, built)
    except Diverged as error:  # a mutated learning rate
        return None if "\n" not in str(error) else f"more than a line: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "; ".join(check.problems(folder))


def test_the_configs_to_mutate_can_be_run(digits, monkeypatch):
    monkeypatch.setattr(sources, "load", digits)
    for base in BASES:
        lottery.build(ConfigDict(tree_of(base)))


def mutants(seeds):
    """Yield (seed and changes, config)."""
    for seed in seeds:
        draw = random.Random(seed)
        tree = copy.deepcopy(tree_of(BASES[seed % len(BASES)]))
        changes = [mutate(tree, draw) for _ in range(draw.choice((1, 1, 1, 2)))]
        yield f"seed {seed}: {'; '.join(changes)}", tree


def test_a_mutated_config_is_built_or_answered_in_one_line(digits, monkeypatch):
    monkeypatch.setattr(sources, "load", digits)
    answers = {name: answer(tree)[1] for name, tree in mutants(range(100))}
    assert not {name: wrong for name, wrong in answers.items() if wrong}


@pytest.mark.slow
def test_a_mutated_config_is_run_or_answered_in_one_line(digits, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "load", digits)
    bad, run = {}, 0
    for name, tree in mutants(range(100, 600)):
        built, wrong = answer(tree)
        if built:
            run += 1
            wrong = outcome(built, tree, tmp_path / str(run))
            jax.clear_caches()  # programs of hundreds of configs take gigabytes
        if wrong:
            bad[name] = wrong
    assert not bad
    assert run > 20
