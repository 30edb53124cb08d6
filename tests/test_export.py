"""Tickets to take away: files, what is in them, and what PyTorch makes of them."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import safetensors.numpy
from flax import linen as nn

import lth_jax
from lth_jax import data, export, masks, models, prune, scores
from lth_jax.export import ticket as ticket_lib
from lth_jax.export import torch_layout
from lth_jax.export.__main__ import main
from lth_jax.models.classifier import Classifier
from lth_jax.models.lenet import LeNet
from lth_jax.models.resnet import CifarResNet
from lth_jax.models.vgg import VGG
from lth_jax.train import state
from lth_jax.workdir import Workdir
from lth_jax.workdir.records import Member

DATA = {"shape": [32, 32, 3], "classes": 10, "mean": [0.5] * 3, "std": [0.25] * 3}


def network(name, shape, seed=0, **options):
    """A network under random masks, with batch statistics that are not trivial."""
    model = models.create(name, num_classes=10, **options)
    made = state.create(
        jax.random.key(seed), jnp.zeros((1, *shape)), model, optax.sgd(0.1)
    )
    kept = prune.random(jax.random.key(1), made.masks, 0.3)
    noise = jax.random.normal(jax.random.key(2), (600,))
    shaken = jax.tree.map(
        lambda x: x + 0.2 * jnp.abs(noise[: x.size]).reshape(x.shape), made.batch_stats
    )
    params = jax.tree.map(
        lambda w: w if w.ndim > 1 else w + 0.1 * noise[: w.size], made.params
    )
    params = masks.apply(params, kept)
    return model, replace(made, params=params, masks=kept, batch_stats=shaken)


def make_run(directory, name, dense, ticket, about=DATA, **rewind):
    """Write the folder of a run with a rewind state at step 5 and one level."""
    run = Workdir(directory)
    origin, member = Member(0, 0, 0, "dense", 0), Member(0, 5, 1, "ticket", 0)
    directory.mkdir()
    config = {"model": {"name": name}, "rewind": rewind}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "environment.json").write_text(json.dumps({"data": about}))
    run.save(run.dense, 5, {origin: dense})
    run.save(run.levels, 1, {member: ticket})
    return directory


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "run"
    _, dense = network("lenet", (2, 2, 1), widths=(5, 3))
    dense = replace(dense, masks=jax.tree.map(jnp.ones_like, dense.masks))
    _, ticket = network("lenet", (2, 2, 1), seed=1, widths=(5, 3))
    run = make_run(directory, "lenet", dense, ticket, DATA | {"shape": [2, 2, 1]})
    return run, dense, ticket


@pytest.fixture(scope="module")
def resnet20(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "run"
    model, ticket = network("resnet20", (32, 32, 3))
    return make_run(directory, "resnet20", ticket, ticket), model, ticket


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """256 real digits, each pixel four by four, in three channels."""
    dataset = data.load("digits", data_dir=str(tmp_path_factory.mktemp("tfds")))
    found = np.kron(dataset.test.inputs[:256], np.ones((1, 4, 4, 3))) / 16 - 0.3
    return found.astype(np.float32)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
    return jax.tree.structure(a) == jax.tree.structure(b)


def array():
    """An array in NumPy's other format."""
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


# ------------------------------------------------------------------------ files


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_a_ticket_comes_back_as_it_was(kind, lenet, tmp_path, capsys):
    run, _, ticket = lenet
    path = tmp_path / f"ticket.{kind}"
    arguments = [str(run), "--level=1", f"--format={kind}", f"--out={path}"]
    main(arguments)
    loaded = lth_jax.load_ticket(path)
    assert same(loaded.params, ticket.params)
    assert same(loaded.masks, ticket.masks)
    assert loaded.about["level"] == 1
    assert loaded.about["density"] == masks.density(ticket.masks)
    assert loaded.about["model"] == {"name": "lenet"}
    assert loaded.about["data"] == DATA | {"shape": [2, 2, 1]}
    said = capsys.readouterr().out
    dense = 4 * sum(w.size for w in jax.tree.leaves(ticket.params))
    assert said.endswith(f"{path.stat().st_size:,} bytes (dense: {dense:,}): {path}\n")


@pytest.mark.slow
def test_a_ticket_with_batch_statistics_comes_back(resnet20, tmp_path):
    run, _, ticket = resnet20
    main([str(run), "--level=1", f"--out={tmp_path / 'a.safetensors'}"])
    loaded = lth_jax.load_ticket(tmp_path / "a.safetensors")
    assert same(loaded.batch_stats, ticket.batch_stats)
    assert same(loaded.masks, ticket.masks)


@pytest.mark.slow
def test_a_file_takes_what_is_kept_and_a_bit_a_weight(resnet20, tmp_path):
    run, _, ticket = resnet20
    path = tmp_path / "ticket.safetensors"
    main([str(run), "--level=1", f"--out={path}"])
    arrays = safetensors.numpy.load_file(path)
    kept, total = masks.count(ticket.masks)
    bits = sum(-(-m.size // 8) for m in jax.tree.leaves(ticket.masks))
    others = sum(x.size for x in jax.tree.leaves((ticket.params, ticket.batch_stats)))
    wanted = 4 * (kept + others - total) + bits
    assert sum(array.nbytes for array in arrays.values()) == wanted


def test_a_rewound_ticket_is_the_rewind_state_under_the_masks(lenet):
    run, dense, ticket = lenet
    found = export.find(run, 1, rewound=True)
    assert same(found.params, masks.apply(dense.params, ticket.masks))
    assert same(found.masks, ticket.masks)


@pytest.fixture
def with_dense(lenet, tmp_path):
    """The run with the end of dense training, and level 0 done: it has other copies."""
    run, trained = Workdir(tmp_path / "run"), lenet[1]
    make_run(run.directory, "lenet", trained, lenet[2])
    origin = Member(0, 0, 0, "dense", 0)
    trained = replace(trained, params=jax.tree.map(lambda w: w + 1, trained.params))
    run.save(run.dense, 0, {origin: lenet[1]})
    run.save(run.dense, 9, {origin: replace(trained, step=jnp.int32(9))})
    run.save(run.levels, 0, {origin._replace(copy=1): lenet[1]})
    return run, trained


def test_at_level_0_is_the_dense_network_at_the_end_of_training(with_dense):
    run, trained = with_dense
    for rewind_step in (None, 5, 3):  # which is another network's
        found = export.find(run.directory, 0, rewind_step=rewind_step)
        assert same(found.params, trained.params)
        assert (found.about["step"], found.about["branch"]) == (9, "dense")
        assert found.about["rewind_step"] == found.about["copy"] == 0
        assert found.about["density"] == 1


def test_at_level_0_a_rewound_network_is_a_rewind_state(with_dense, lenet):
    run, _ = with_dense
    for rewind_step in (None, 5, 0):
        found = export.find(run.directory, 0, rewind_step=rewind_step, rewound=True)
        assert same(found.params, lenet[1].params)
        wanted = 5 if rewind_step is None else rewind_step
        assert found.about["rewind_step"] == wanted
    for rewind_step in (3, 9):  # 9 is the end, and no rewind state
        with pytest.raises(lth_jax.export.ExportError, match=r"is not among \[0, 5\]"):
            export.find(run.directory, 0, rewind_step=rewind_step, rewound=True)


def test_dense_networks_on_their_way_are_no_level(lenet):
    with pytest.raises(lth_jax.export.ExportError, match="levels there: 1"):
        export.find(lenet[0], 0)


def test_a_rewound_ticket_has_what_training_takes_from_the_first_weights(tmp_path):
    """`rewind.fresh`: here the parameters, and not the count of steps."""
    model, dense = network("lenet", (2, 2, 1), widths=(5, 3))
    dense = replace(dense, step=jnp.int32(5))
    _, ticket = network("lenet", (2, 2, 1), seed=1, widths=(5, 3))
    first = state.create(
        jax.random.key(7), jnp.zeros((1, 2, 2, 1)), model, optax.sgd(0.1)
    )
    path = make_run(tmp_path / "run", "lenet", dense, ticket, fresh=("params",))
    run = Workdir(path)
    run.save(run.dense, 0, {Member(0, 0, 0, "dense", 0): first})
    found = export.find(path, 1, rewound=True)
    assert same(found.params, masks.apply(first.params, ticket.masks))
    assert found.about["step"] == 5


def test_a_rewound_dense_network_is_at_its_step_whatever_is_fresh(with_dense, lenet):
    run, _ = with_dense
    config = {"model": {"name": "lenet"}, "rewind": {"fresh": ["params", "step"]}}
    (run.directory / "config.json").write_text(json.dumps(config))
    later = replace(lenet[2], step=jnp.int32(5))
    run.dense.replace(
        5, [later], members=[Member(0, 0, 0, "dense", 0)], masks=[], records=0
    )
    found = export.find(run.directory, 0, rewind_step=5, rewound=True)
    assert same(found.params, later.params)
    assert found.about["step"] == 5


def test_a_rewound_ticket_has_the_clock_with_which_training_begins(with_dense, lenet):
    run, _ = with_dense
    config = {"model": {"name": "lenet"}, "rewind": {"clock": "end"}}
    (run.directory / "config.json").write_text(json.dumps(config))
    found = export.find(run.directory, 1, rewound=True)
    assert same(found.params, masks.apply(lenet[1].params, lenet[2].masks))
    assert found.about["step"] == 9


def test_tickets_that_keep_their_trained_weights_are_not_rewound(lenet, tmp_path):
    path = make_run(tmp_path / "run", "lenet", *lenet[1:], weights="trained")
    with pytest.raises(SystemExit, match="^error: --rewound: tickets of this run beg"):
        main([str(path), "--level=1", "--rewound"])


def test_files_of_a_ticket_before_and_after_its_training_are_two(lenet):
    for kind in ("safetensors", "npz", "torch"):
        for flags in ([], ["--rewound"]):
            main([str(lenet[0]), "--level=1", f"--format={kind}", *flags])
    found = {path.name for path in (lenet[0] / "tickets").iterdir()}
    stem = "level_1_rewind_step_5_replicate_0"
    ends = (".safetensors", ".npz", "_torch.safetensors")
    ends += ("_rewound.safetensors", "_rewound.npz", "_torch_rewound.safetensors")
    assert found == {stem + end for end in ends}


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--level=4", "--level: 4 is not in .*; levels there: 1"),
        ("--replicate=3", r"--replicate: 3 is not among \[0\]"),
        ("--rewind_step=3", r"--rewind_step: 3 is not among \[5\]"),
        ("--learning_rate=0.1", r"--learning_rate: 0.1 is not among \[None\]"),
        (
            "--out=ticket.pt",
            "--out: .*ticket.pt, of format safetensors, must end in .safetensors",
        ),
    ],
)
def test_what_is_not_there_is_said_in_one_line(argument, said, lenet, monkeypatch):
    monkeypatch.chdir(lenet[0])
    with pytest.raises(SystemExit, match=f"^error: {said}$"):
        main([str(lenet[0]), "--level=1", argument])


DTYPES = {
    np.dtype(kind).newbyteorder(order)
    for kind in "?bBhHiIlLqQefdgFDGmMSUOV"
    for order in "<>"
} | {np.dtype(x) for x in vars(ml_dtypes).values() if isinstance(x, type)}
NOT_IN_JAX = {"int1", "uint1", "float6_e2m3fn", "float6_e3m2fn"}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("dtype", sorted(DTYPES, key=str), ids=str)
def test_numbers_of_every_type_come_back_or_are_refused(dtype, suffix, tmp_path):
    kept = np.array([[0, 1, 1]], bool)
    w, b = np.zeros((1, 3), dtype), np.zeros((), dtype)
    holds = scores.is_number(w.astype(dtype.newbyteorder("=")))
    if holds:
        b = np.array(1).astype(dtype)
        w[0, 1:] = b
    path = tmp_path / f"ticket.{suffix}"
    made = export.Ticket({"w": w, "b": b}, {"mean": w}, {"w": kept, "b": None}, {})
    if not holds or dtype.name in NOT_IN_JAX:
        with pytest.raises(export.ExportError, match="ticket: b is .*, not numbers"):
            export.save_ticket(path, made)
        return
    export.save_ticket(path, made)
    found = export.load_ticket(path)
    for got, wanted in (
        *zip(found.params.values(), (b, w)),
        (found.batch_stats["mean"], w),
    ):
        assert got.dtype == dtype.newbyteorder("=")
        np.testing.assert_array_equal(np.asarray(got), wanted)


@pytest.mark.parametrize("leaf", ["gelu", len, jax.random.key(0)])
def test_what_is_no_number_is_refused(leaf, tmp_path):
    made = export.Ticket({"w": leaf}, {}, {"w": None}, {})
    with pytest.raises(export.ExportError, match="ticket: w is .*, not numbers that"):
        export.save_ticket(tmp_path / "ticket.npz", made)


def test_a_file_in_pytorchs_layout_is_no_ticket(lenet, tmp_path):
    path = tmp_path / "torch.safetensors"
    main([str(lenet[0]), "--level=1", "--format=torch", f"--out={path}"])
    with pytest.raises(ValueError, match="no ticket"):
        lth_jax.load_ticket(path)


SMALL = ticket_lib.Ticket(
    {
        "conv": {"kernel": jnp.arange(1.0, 13).reshape(3, 4), "bias": jnp.ones(4)},
        "fc": {"kernel": jnp.array([[0.0, 2], [3, 0]])},
        "scale": jnp.float32(3),
    },
    {"norm": {"mean": jnp.arange(4.0), "count": jnp.int32(7)}},
    {
        "conv": {"kernel": jnp.ones((3, 4), bool), "bias": None},
        "fc": {"kernel": jnp.array([[False, True], [True, False]])},
        "scale": None,
    },
    {"level": 2, "model": {"name": "mine", "options": {"widths": [3]}}},
)
DENSE = {f"params/{path}" for path in ("conv/bias", "scale")}
MASKED = {f"{kind}/{x}/kernel" for kind in ("values", "masks") for x in ("conv", "fc")}


def small(path):
    """Write a small ticket and return its arrays and what is about them."""
    lth_jax.save_ticket(path, SMALL)
    arrays, about, _ = ticket_lib._load_arrays(path)
    return arrays, json.loads(about)


def write(path, arrays, about, checksum):
    """Write a file by hand: with the checksum of this content, or an old one."""
    if checksum is None:
        return ticket_lib.save_arrays(path, arrays, about)
    text = {"about": json.dumps(about), "sha256": checksum}
    if path.suffix == ".npz":
        return np.savez(path, **arrays, **text)
    return safetensors.numpy.save_file(arrays, path, text)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_a_small_ticket_comes_back_with_numbers_that_have_no_shape(suffix, tmp_path):
    path = tmp_path / f"ticket.{suffix}"
    lth_jax.save_ticket(path, SMALL)
    loaded = lth_jax.load_ticket(path)
    assert same(loaded[:3], SMALL[:3])
    assert loaded.about == SMALL.about


def changed_arrays(arrays):
    """Yield (what is said, arrays) with each array dropped, renamed, resized, retagged.

    Of dropped or recast statistics nothing in a file tells but its checksum.
    """
    for name, x in arrays.items():
        others = {n: y for n, y in arrays.items() if n != name}
        listed = name in DENSE | MASKED
        missing = name.replace("params", "masks") if listed else "checksum"
        yield missing, others
        yield missing, others | {f"{name}2": x}
        yield f"{name}2 is extra" if listed else "", arrays | {f"{name}2": x}
        kind, _, path = name.partition("/")
        for other in {"params", "values", "masks", "batch_stats", "else"} - {kind}:
            yield "", others | {f"{other}/{path}": x}
        longer = np.concatenate([x.ravel(), x.ravel()[:1]])
        for resized in (longer, longer[:-2], longer[:0]):
            yield name if listed else "checksum", others | {name: resized}
        for dtype in (np.int8, np.float16, bool):
            yield "", others | {name: x.astype(dtype)}
        yield "", others | {name: np.atleast_1d(x).view(np.int8)}
        yield "", others | {name: np.zeros_like(x)}


def changed_abouts(about):
    """Yield (what is said, metadata) with each shape and the rest changed."""
    shapes = about["shapes"]
    for name, shape in shapes.items():
        others = {n: s for n, s in shapes.items() if n != name}
        yield f"{name} is extra", about | {"shapes": others}
        yield f"{name}2 is missing", about | {"shapes": shapes | {f"{name}2": shape}}
        bad = ["12", 12, None, {"0": 12}, [12.0], [-12], [-3, -4], ["12"], [[12]]]
        bad += [[True, 12], [None]]
        for other in bad:
            said = f"{name} has the shape"
            yield said, about | {"shapes": shapes | {name: other}}
        huge = ([10**12], [10**6, 10**6, 10**6], [2**31, 2**31, 2**31], [10**40])
        for other in (*huge, [*shape, 9], [*shape, 0], [0, 10**12]):
            yield f"{name} has", about | {"shapes": shapes | {name: other}}
        yield "", about | {"shapes": shapes | {name: [*shape[::-1], 1]}}
    for other in ([], None, 3, "ab", [["scale", []]], {"a": {}}):
        yield "", about | {"shapes": other}
    yield "no shapes", {k: v for k, v in about.items() if k != "shapes"}


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_what_is_changed_in_a_file_is_found(suffix, tmp_path):
    """Whatever a hand changes, one line names the file; it is an error or no change."""
    path = tmp_path / f"ticket.{suffix}"
    arrays, about = small(path)
    _, _, checksum = ticket_lib._load_arrays(path)
    files = [(said, changed, about) for said, changed in changed_arrays(arrays)]
    files += [(said, arrays, changed) for said, changed in changed_abouts(about)]
    for said, some, other in files:
        write(path, some, other, checksum)
        with pytest.raises(ValueError, match=f"^{path}: no ticket.*{said}") as error:
            lth_jax.load_ticket(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_arrays_that_do_not_fit_are_named_whoever_signs(suffix, tmp_path):
    """A stranger's checksum is right: the arrays must fit nevertheless."""
    path = tmp_path / f"ticket.{suffix}"
    arrays, about = small(path)
    files = [(said, changed, about) for said, changed in changed_arrays(arrays)]
    files += [(said, arrays, changed) for said, changed in changed_abouts(about)]
    for said, some, other in files:
        write(path, some, other, None)
        if said and said != "checksum":
            with pytest.raises(ValueError, match=f"^{path}: no ticket.*{said}"):
                lth_jax.load_ticket(path)
        else:  # nothing else is raised
            with contextlib.suppress(ValueError):
                lth_jax.load_ticket(path)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_bytes_that_are_changed_are_found(suffix, tmp_path):
    path = tmp_path / f"ticket.{suffix}"
    small(path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(len(content), size=300):
        broken = bytearray(content)
        broken[place] ^= 1 << rng.integers(8)
        for some in (broken, content[:place]):
            path.write_bytes(some)
            try:
                assert same(lth_jax.load_ticket(path)[:3], SMALL[:3])
            except ValueError as error:
                assert str(error).startswith(f"{path}: no ticket")


def test_a_small_file_takes_no_memory_whatever_it_claims(tmp_path):
    """In shapes, in the header of an array, and by compression."""
    path = tmp_path / "ticket.npz"
    arrays, about = small(path)
    tracemalloc.start()
    for name in about["shapes"]:
        shapes = about["shapes"] | {name: [10**6, 10**6]}
        write(path, arrays, about | {"shapes": shapes}, None)
        with pytest.raises(ValueError, match=f"{name} has"):
            lth_jax.load_ticket(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    small(path)
    header = b"'shape': (12,), }" + 17 * b" "
    claimed = b"'shape': (1000000000000,), }".ljust(len(header))
    content = path.read_bytes()
    assert header in content
    path.write_bytes(content.replace(header, claimed))
    with pytest.raises(ValueError, match="no ticket"):
        lth_jax.load_ticket(path)
    np.savez_compressed(path, **arrays)
    with pytest.raises(ValueError, match="compressed"):
        lth_jax.load_ticket(path)


def test_a_file_without_a_checksum_is_read(tmp_path):
    """As it was written before there was one."""
    path = tmp_path / "ticket.safetensors"
    arrays, about = small(path)
    safetensors.numpy.save_file(arrays, path, {"about": json.dumps(about)})
    assert same(lth_jax.load_ticket(path)[:3], SMALL[:3])


@pytest.mark.parametrize(
    "content", [b"", b"anything else", b"PK\x03\x04 and more", array()]
)
@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_another_file_is_no_ticket(content, suffix, tmp_path):
    path = tmp_path / f"ticket.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"ticket\.{suffix}: no ticket"):
        lth_jax.load_ticket(path)


def test_a_suffix_that_contradicts_the_format_is_refused(lenet, tmp_path, monkeypatch):
    out = tmp_path / "ticket.npz"
    with pytest.raises(SystemExit, match=r"^error: --out: .*\.safetensors"):
        main([str(lenet[0]), "--level=1", "--format=torch", f"--out={out}"])
    assert not out.exists()


def test_a_ticket_is_read_without_flax_and_orbax(lenet, tmp_path):
    path = tmp_path / "ticket.npz"
    main([str(lenet[0]), "--level=1", f"--out={path}"])
    code = (
        f"import sys, lth_jax; lth_jax.load_ticket({str(path)!r}); "
        "sys.exit(bool({'flax', 'optax', 'orbax', 'pandas'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


# ---------------------------------------------------------------------- pytorch


def resnet_module(torch, blocks=3, width=16, channels=3):
    """ResNet as in torchvision, with three stages and 3x3 convolutions at the start."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample = None
            if stride > 1:
                projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            x = x if self.downsample is None else self.downsample(x)
            return torch.relu(self.bn2(self.conv2(y)) + x)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            for stage in range(3):
                inputs = width * 2 ** max(0, stage - 1)
                layers = [
                    Block(
                        inputs if i == 0 else width * 2**stage,
                        width * 2**stage,
                        2 if stage and i == 0 else 1,
                    )
                    for i in range(blocks)
                ]
                setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
            self.fc = nn.Linear(4 * width, 10)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.fc(x.mean((2, 3)))

    return ResNet()


def vgg_module(torch):
    """VGG-11 as in torchvision, with one dense layer."""
    nn = torch.nn

    class VGG(nn.Module):
        def __init__(self):
            super().__init__()
            layers, inputs = [], 3
            for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512):
                if width == "M":
                    layers.append(nn.MaxPool2d(2, 2))
                    continue
                conv = nn.Conv2d(inputs, width, 3, padding=1)
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            self.features = nn.Sequential(*layers)
            self.classifier = nn.Linear(512, 10)

        def forward(self, x):
            return self.classifier(self.features(x).mean((2, 3)))

    return VGG()


def lenet_module(torch):
    nn = torch.nn

    class LeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(32 * 32 * 3, 30)
            self.fc2 = nn.Linear(30, 20)
            self.fc = nn.Linear(20, 10)

        def forward(self, x):
            x = torch.relu(self.fc1(x.flatten(1)))
            return self.fc(torch.relu(self.fc2(x)))

    return LeNet()


def state_dict(name, params, batch_stats, options=None):
    about = {"model": {"name": name, "options": options or {}}, "data": DATA}
    return torch_layout.state_dict(ticket_lib.Ticket(params, batch_stats, {}, about))


def logits(model, ticket, images):
    arrays = (ticket.params, ticket.batch_stats)
    return jax.jit(lambda x: model.apply(*arrays, x, train=False, key=None)[0])(images)


def torch_logits(torch, module, arrays, images):
    tensors = {
        name: torch.tensor(np.ascontiguousarray(x)) for name, x in arrays.items()
    }
    module.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        return module.eval()(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()


@pytest.mark.slow
def test_pytorch_gives_the_same_logits_with_an_exported_resnet20(
    resnet20, images, tmp_path
):
    torch = pytest.importorskip("torch")
    run, model, ticket = resnet20
    path = tmp_path / "ticket.safetensors"
    main([str(run), "--level=1", "--format=torch", f"--out={path}"])
    arrays = safetensors.numpy.load_file(path)
    found = torch_logits(torch, resnet_module(torch), arrays, images)
    expected = logits(model, ticket, images)
    assert np.std(expected, axis=0).min() > 1e-2  # of different images
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "module", "options"),
    [("vgg11", vgg_module, {}), ("lenet", lenet_module, {"widths": (30, 20)})],
)
def test_pytorch_gives_the_same_logits(name, module, options, images):
    torch = pytest.importorskip("torch")
    model, ticket = network(name, (32, 32, 3), **options)
    arrays = state_dict(name, ticket.params, ticket.batch_stats)
    found = torch_logits(torch, module(torch), arrays, images[:32])
    expected = logits(model, ticket, images[:32])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def zeros(name, **options):
    """A network's variables, all 0, without computing anything."""
    model = models.create(name, num_classes=10, **options)
    images = jnp.ones((1, 64, 64, 3))
    made = jax.eval_shape(model.init, jax.random.key(0), images)
    params, batch_stats = jax.tree.map(lambda x: np.zeros(x.shape), made)
    return {"params": params, "batch_stats": batch_stats}


def test_an_imagenet_resnet_is_named_as_torchvisions():
    """The names of torchvision's resnet50, of which some say all."""
    found = state_dict("resnet50", **zeros("resnet50", width=4))
    assert len(found) == 320
    for name in (
        "conv1.weight",
        "bn1.num_batches_tracked",
        "layer1.0.conv3.weight",
        "layer1.0.downsample.0.weight",
        "layer4.0.downsample.1.running_var",
        "layer4.2.bn3.bias",
        "fc.bias",
    ):
        assert name in found


class Wide(CifarResNet):
    """Another width is the same layout."""

    width: int = 32


class Lookalike(Classifier):
    """Named as a ResNet, and none."""

    @nn.compact
    def __call__(self, x, train):
        return self.classify(nn.Dense(3, name="stage1_block0")(x.mean((1, 2))))


@pytest.mark.parametrize(
    ("name", "made", "options", "wanted"),
    [
        ("mine", partial(CifarResNet, depth=8), {}, "layer3.0.downsample.0.weight"),
        ("wide", partial(Wide), {"depth": 8}, "layer3.0.downsample.0.weight"),
        ("plain_vgg", partial(VGG), {"stage_sizes": [2] * 5}, "features.3.weight"),
        ("resnet_of_dense", partial(LeNet, widths=(3,)), {}, "fc1.weight"),
        ("made", partial(lambda **fields: LeNet(**fields)), {}, "fc2.weight"),
    ],
)
def test_what_a_network_is_says_its_layout(monkeypatch, name, made, options, wanted):
    monkeypatch.setitem(models.MODELS, name, made)
    found = state_dict(name, **zeros(name, **options), options=options)
    assert wanted in found
    assert not any("/" in name or "stage" in name for name in found)


@pytest.mark.parametrize("name", ["my_resnet_x", "vgg_like", "lenet"])
def test_a_name_says_nothing_about_the_layout(monkeypatch, name):
    monkeypatch.setitem(models.MODELS, name, partial(Lookalike))
    with pytest.raises(export.ExportError, match=f"'{name}' has no PyTorch layout"):
        state_dict(name, {}, {})


@pytest.mark.parametrize("name", ["gru", "my_resnet_x"])  # one is not here
def test_a_network_without_a_counterpart_is_named(name):
    with pytest.raises(export.ExportError, match=f"'{name}' has no PyTorch layout"):
        state_dict(name, {}, {})
