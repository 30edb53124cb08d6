"""The configs: every variant can be run, and the smallest of each is."""

import ast
import importlib.util
import itertools
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_imagenet

from lth_jax import config as config_lib
from lth_jax import lottery
from lth_jax.errors import ConfigError
from lth_jax.train import experiment, inputs

ROOT = Path(__file__).parents[1]
RATES = ("standard", "low", "warmup")
SCHEDULES = ("one_shot", "iterative", "rewind_sweep")
LMC = ("lmc", "instability", "travel", "restart", "sparsities")
STABILITY = ("stability", "stability_sweep")
INSTABILITY = ("stability", "instability", "dense_instability")
PRUNING = ("iterative", "one_shot", "admm")
MORE = (PRUNING, ("decay",), ("rewind",), ("cifar100",))
SHORT = ("short_sweep", "short_decays")
CORRELATION = (("correlation", "standard", "low"), *MORE)
# By config: variants that exclude each other, the default first, or that stand alone.
VARIANTS = {
    "digits": (),
    "lenet": (
        ("lmc", "instability", "rewind_sweep", "connectivity", "averages"),
        PRUNING,
        ("decay",),
    ),
    "lenet_stabilizing": (("", "stability", "stability_sweep"), PRUNING, ("decay",)),
    "lenet_correlation": (PRUNING, ("decay",)),
    "resnet20": (RATES, (*LMC, "connectivity"), *MORE),
    "resnet20_stabilizing": (
        RATES,
        ("", *STABILITY, "rewind_sweep", *SHORT, "appendix_a"),
        (*PRUNING, "snip"),
        *MORE[1:],
    ),
    "resnet20_correlation": (
        ("", "standard", "low"),
        ("", "short", "short_decays"),
        *MORE,
    ),
    "vgg11": CORRELATION,
    "vgg16": (RATES, LMC, ("one_shot",), ("cifar100",)),
    "vgg19": (
        RATES,
        ("stabilizing", *STABILITY, "rewind_sweep", "appendix_a"),
        ("", "one_shot", "snip"),
        ("cifar100",),
    ),
    "mobilenet_v2": CORRELATION,
    "resnet50": ((*SCHEDULES, *INSTABILITY),),
    "inception_v3": ((*SCHEDULES, *INSTABILITY), ("tpu_code",)),
    "squeezenet": ((*SCHEDULES, "stability"), ("tpu_code",)),
    "rivals": (
        ("lenet", "resnet20", "short"),
        ("", "late", "early", "snip", "grasp", "synflow", "trained", "fine_tuned"),
    ),
    "ablations": (),
    "transported": (),
    "grokking": (("transformer",), ("decay",)),
    "bytes": (("short",),),
    "vit": (("cifar100",),),
    "table": (),
    "sequences": (),
}
# By config: variants of different groups that exclude each other all the same.
EXCLUSIVE = {
    "resnet20_stabilizing": (
        *({other, short} for other in ("warmup", "rewind") for short in SHORT),
        {"decay", "short_decays"},
    ),
    "resnet20_correlation": (
        *({"rewind", short} for short in ("short", "short_decays")),
        *({other, "short_decays"} for other in ("decay", *PRUNING)),
    ),
}
IMAGENET = ("resnet50", "inception_v3", "squeezenet")
# As published; with the biases before batch-norm where the papers' tables have them.
PARAMETERS = {
    "digits": 19_500 + 30_100 + 1_010,
    "lenet": 266_610,
    "lenet_stabilizing": 266_610,
    "lenet_correlation": 266_610,
    "resnet20": 272_474,
    "resnet20_stabilizing": 272_474,
    "resnet20_correlation": 272_474,
    "vgg11": 9_231_114 - 2_752,
    "vgg16": 14_728_266,
    "vgg19": 20_040_522,
    "mobilenet_v2": 2_296_922,
    "resnet50": 25_557_032,
    "inception_v3": 27_161_264,
    "squeezenet": 1_248_424,
    "rivals": 266_610,
    "ablations": 266_610,
    "transported": 266_610,
    "grokking": 67 * 500 + 500 * 48 + 48 * 500 + 500 * 67,
    "bytes": 867_328,  # that of 64 positions
    "vit": 2_697_610,
    "table": 1_516_517,
    "sequences": 3 * (28 * 256 + 256 + 256 * 256) + 256 + 2_570,
}


def get(name, *variants):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"configs/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(",".join(filter(None, variants)))


def all_variants():
    """Up to three variants of every config at a time."""
    for name, groups in VARIANTS.items():
        groups = [{"", *group} for group in (*groups, ("smoke",))]
        for some in itertools.product(*groups):
            few = len({*some} - {""}) <= 3
            if few and not any(pair <= {*some} for pair in EXCLUSIVE.get(name, ())):
                yield name, *some


def test_every_config_is_among_them():
    assert {path.stem for path in (ROOT / "configs").glob("*.py")} == VARIANTS.keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_all_variants_are_valid_and_locked(name):
    found = [variants for variants in all_variants() if variants[0] == name]
    for variants in found:
        config = get(*variants)
        config_lib.check(config)
        assert config.is_locked
        assert config.to_dict().keys() == config_lib.default().to_dict().keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_something_unless_it_is_the_default(name):
    plain = get(name).to_json()
    for default, *others in VARIANTS[name]:
        if others:
            assert get(name, default).to_json() == plain
        for variant in others or [default]:
            assert get(name, variant).to_json() != plain


@pytest.mark.parametrize("name", ["resnet20_correlation", "vgg11", "mobilenet_v2"])
@pytest.mark.parametrize("data", ["", "cifar100"])
def test_the_grid_is_that_of_weight_correlation(name, data):
    config = get(name, data)
    assert config.data.name == (data or "cifar10")
    assert (config.data.batch_size, config.replicates) == (128, 5)
    assert (config.train.length, config.rewind.steps) == ("150ep", ("0it",))
    assert (config.optim.name, config.optim.options.momentum) == ("sgd", 0.9)
    assert config.optim.schedule == "step"
    assert config.optim.milestones == ("80ep", "120ep")
    assert config.sweep.learning_rate == (0.01, 0.1)
    assert (config.optim.weight_decay, config.sweep.weight_decay) == (1e-4, ())
    assert config.prune.scope == "layer"
    assert "^conv1/" in config.prune.exclude
    assert {0.7, 0.5, 0.3} <= {*config.prune.densities}
    assert config.study.top == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert {"ticket", "random_reinit", "fine_tune"} <= {*config.branches}
    assert {"long", "fine_tune_small", "shuffled_mask", "cross_lr"} <= {
        *config.branches
    }
    assert (config.dense_branches, config.studies) == (("long",), ("correlation",))
    decay = get(name, "decay", data)
    assert decay.sweep.weight_decay == (0.0, 1e-4, 5e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_docstring_is_the_record_and_has_the_command(name):
    text = (ROOT / f"configs/{name}.py").read_text()
    assert f"--config=configs/{name}.py" in text
    assert "smoke" in text.split('"""')[1]
    assert "Run time" in text


@pytest.mark.parametrize("name", VARIANTS)
def test_the_docstring_names_every_variant(name):
    said = (ROOT / f"configs/{name}.py").read_text().split('"""')[1]
    named = re.findall(r"\w+", said.partition("Variants:")[2])
    assert {*itertools.chain(*VARIANTS[name])} - {""} <= {*named}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_config_needs_no_other_config(name):
    tree = ast.parse((ROOT / f"configs/{name}.py").read_text())
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    own = {"ml_collections.ConfigDict", "lth_jax.config", "lth_jax.config.papers"}
    assert imported <= own
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_wrong_variant_is_named(name):
    with pytest.raises(ConfigError, match=r"^config\.\(variant\): 'lwo' is not known"):
        get(name, "lwo")


@pytest.mark.parametrize(
    ("name", "variants"),
    [
        ("vgg16", "low,warmup"),
        ("resnet20", "lmc,instability"),
        ("resnet20_stabilizing", "stability,rewind_sweep"),
        ("resnet20_stabilizing", "warmup,short_sweep"),
        ("resnet20_stabilizing", "rewind,short_sweep"),
        ("resnet20_correlation", "rewind,short"),
        ("resnet50", "one_shot,iterative"),
        ("vgg11", "admm,one_shot"),
    ],
)
def test_variants_that_exclude_each_other_are_refused(name, variants):
    a, b = sorted(variants.split(","))
    with pytest.raises(ConfigError) as caught:
        get(name, variants)
    assert str(caught.value) == (
        f"config.(variant): {a!r} and {b!r} exclude each other; choose one"
    )


# Those that take seconds to trace.
LARGE = ("inception_v3", "mobilenet_v2", "resnet50", "vgg16")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in VARIANTS],
)
def test_networks_have_their_published_sizes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where data of one's own are
    (tmp_path / "input.txt").write_text(999 * "a")
    arrays = {"inputs": np.zeros((2**10, 54), "f4"), "targets": np.arange(2**10) % 7}
    named = {f"{s}_{n}": x for s in ("train", "test") for n, x in arrays.items()}
    np.savez(tmp_path / "covertype.npz", **named)
    last = experiment.summary(get(name)).splitlines()[-1].split()
    assert int(last[1].replace(",", "")) == PARAMETERS[name]


# ------------------------------------------------------------------------ smoke


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """imagenet2012 as a user prepares it, of 40 training images and 13 others."""
    folder = tmp_path_factory.mktemp("imagenet")
    tiny_imagenet.write_tars(folder / "downloads" / "manual", 10, 13)
    prepare(tfds.builder("imagenet2012", data_dir=folder))
    return folder


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """CIFAR-10 and CIFAR-100 of TFDS's builders, from files of a few random images."""
    folder = tmp_path_factory.mktemp("cifar")
    write_cifar(folder)
    with pytest.MonkeyPatch.context() as patch:
        manager = tfds.download.DownloadManager
        patch.setattr(manager, "download_and_extract", lambda self, url: str(folder))
        for name in ("cifar10", "cifar100"):
            prepare(tfds.builder(name, data_dir=folder))
    return folder


def write_cifar(folder):
    """Write what the archives of both sets hold, 40 images a file."""
    rng = np.random.default_rng(0)
    sets = {
        "cifar-10-batches-bin": (
            [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"],
            {"batches.meta.txt": 10},
            1,
        ),
        "cifar-100-binary": (
            ["train.bin", "test.bin"],
            {"coarse_label_names.txt": 20, "fine_label_names.txt": 100},
            2,
        ),
    }
    for name, (files, labels, label_bytes) in sets.items():
        (folder / name).mkdir()
        for file in files:
            rows = rng.integers(256, size=(40, label_bytes + 3072), dtype=np.uint8)
            rows[:, :label_bytes] %= 10
            (folder / name / file).write_bytes(rows.tobytes())
        for file, classes in labels.items():
            names = "".join(f"class{i}\n" for i in range(classes))
            (folder / name / file).write_text(names)


@pytest.mark.filterwarnings("ignore")  # TensorFlow's, and TFDS's about it
def prepare(builder):
    builder.download_and_prepare(file_format="array_record")


def run(config, folder, workdir):
    """Run a config on the data in a folder; return its rows."""
    with config.unlocked():
        config.data.dir = str(folder)
    lottery.run(config, workdir)
    lines = (workdir / "results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


SLOW = ("grokking", "bytes", "vit", "table", "sequences", "grokking:transformer")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) for n in SLOW]
)
def test_the_smallest_run_of_what_is_tried_first(name, tmp_path_factory, tmp_path):
    name, _, variant = name.partition(":")
    folder = tmp_path_factory.getbasetemp() / "tfds"
    rows = run(get(name, variant, "smoke"), folder, tmp_path)
    assert {"dense", "ticket", "random_reinit"} <= {row["branch"] for row in rows}
    measured = {row["measure"] for row in rows}
    assert ("test_bits" if name == "bytes" else "test_accuracy") in measured


CIFAR_SMOKES = [
    ("resnet20",),
    ("resnet20", "cifar100"),
    ("resnet20", "instability"),
    ("resnet20_stabilizing", "stability"),
    ("resnet20_correlation",),
    ("vgg11", "admm"),
    ("vgg16", "one_shot"),
    ("vgg19", "cifar100"),
    ("mobilenet_v2",),
]


@pytest.mark.slow
@pytest.mark.parametrize("variants", CIFAR_SMOKES, ids=",".join)
def test_the_smallest_run_on_cifar(variants, cifar, tmp_path):
    rows = run(get(*variants, "smoke"), cifar, tmp_path)
    assert {row["branch"] for row in rows} >= {"dense", "ticket"}
    assert {row["level"] for row in rows} == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["", "early", "snip", "fine_tuned"])
def test_the_smallest_run_of_what_competes_with_a_ticket(variant, cifar, tmp_path):
    config = get("rivals", "short", variant, "smoke")
    rows = run(config, cifar, tmp_path)
    assert {row["branch"] for row in rows} == {"dense", *config.branches}
    bills = [row for row in rows if "multiply_adds_to_" in row["measure"]]
    trained = {row["branch"] for row in bills if row["value"] > 0}
    assert trained == {"dense", *config.branches}


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGENET)
def test_the_smallest_run_on_imagenet(name, imagenet, tmp_path):
    """Dense training, rewind state, a pruning round and the ticket on two devices."""
    config = get(name, "smoke")
    rows = run(config, imagenet, tmp_path)
    numbers = {(r["branch"], r["step"], r["measure"]): r["value"] for r in rows}
    end = 3 if name != "inception_v3" else 2
    assert {key[:2] for key in numbers} == {
        ("dense", 1),
        ("dense", end),
        ("ticket", end),
    }
    for branch in ("dense", "ticket"):
        assert 0 <= numbers[branch, end, "test_accuracy"] <= 1
        assert numbers[branch, end, "test_loss"] > 0
    wanted = config.prune.densities[0]
    (density,) = {r["density"] for r in rows if r["branch"] == "ticket"}
    assert density == pytest.approx(wanted, abs=1e-4)
    saved = {path.name for path in (tmp_path / "checkpoints" / "dense").iterdir()}
    assert {"0", "1", str(end)} <= saved


@pytest.mark.slow
def test_imagenet_is_read_from_disk(imagenet):
    config = get("resnet50", "smoke")
    with config.unlocked():
        config.data.dir = str(imagenet)
        config.data.validation = 5
    made = experiment.build(config)
    assert made.program.feed.steps_per_epoch == 35 // 8
    assert made.program.feed.example.shape == (32, 32, 3)
    assert list(made.evaluators) == ["validation", "test"]
    assert len(made.evaluators["test"].split) == 13
    arrays = made.program.supply(0, 0)
    assert {k: v.shape for k, v in arrays.items()} == {
        "inputs": (2, 4, 32, 32, 3),
        "targets": (2, 4),
    }
    assert arrays["inputs"].sharding.device_set == set(jax.devices()[:2])
    assert set(arrays["targets"].ravel().tolist()) <= {0, 1, 2, 3}
    (record,) = made.program.feed.images.records.read([0])
    assert record.key.startswith("n01") and record.key.endswith(".JPEG")


def test_a_stream_shares_its_batches(imagenet):
    config = get("resnet50", "smoke")
    with config.unlocked():
        config.train.layout = "fleet"
    with pytest.raises(ConfigError, match=r"^config\.train\.layout: .* use 'data'$"):
        lottery.build(config)


def test_images_of_many_sizes_have_no_place_in_memory():
    config = get("resnet50")
    with config.unlocked():
        config.data.feed = "memory"
        config.data.augmentation = "none"
    with pytest.raises(ValueError, match=r"^config\.data\.feed: .* use 'stream'$"):
        inputs.describe(config)
