"""Suite: what is measured. Each benchmark returns its lines of the table."""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import ours, rivals, runs, steps
from benchmarks.measure import Line, bandwidth, compare, matmul_peak, text, timed
from lth_jax import config as config_lib
from lth_jax import masks, measures, models, prune, scores
from lth_jax.optim import optimizers as optim
from lth_jax.train import state
from lth_jax.train.evaluate import Evaluator
from lth_jax.workdir import Member, Workdir


def pruning() -> Iterator[Line]:
    """Global magnitude pruning of ResNet-50's weights; masks on disk."""
    params = ours.weights()
    kept = masks.full(params)
    weights = sum(w.size for w in params.values())
    flat = torch.from_numpy(np.concatenate([np.ravel(w) for w in params.values()]))
    tensors = [torch.tensor(np.asarray(w)) for w in params.values()]
    arrays = [np.asarray(w) for w in params.values()]
    number = -(-weights // 5)

    def mine() -> None:
        jax.block_until_ready(prune.magnitude(params, kept, 0.2))

    kthvalue = partial(rivals.pruned, tensors, number, rivals.kthvalue)

    def partition() -> list[np.ndarray]:
        together = np.abs(np.concatenate([a.ravel() for a in arrays]))
        threshold = np.partition(together, number - 1)[number - 1]
        return [np.abs(a) > threshold for a in arrays]

    work = f"masks of {weights / 1e6:.1f}M weights, a fifth pruned globally"
    limit = 4 * flat.numel() / bandwidth()
    for name, rival in (("torch.kthvalue", kthvalue), ("np.partition", partition)):
        found = compare(lambda: timed(mine, 1), lambda rival=rival: timed(rival, 1))
        passes = statistics.median(found.ours) / limit
        yield Line(
            "pruning",
            work,
            name,
            text(found.ours),
            str(found),
            ">= 2x",
            f"{passes:.0f} readings of the weights by one core",
        )
    found = prune.drop.lower(scores.magnitude(params), kept, 1).compile()
    memory = found.memory_analysis()
    magnitudes = sum(w.nbytes for w in params.values())
    extra = magnitudes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    yield Line(
        "pruning",
        work,
        "the weights",
        f"{extra / 2**20:.0f} MiB extra, masks among them",
        f"{extra / (4 * weights):.2f}x",
        "<= 1x",
    )
    packed = sum(bits.nbytes for bits in jax.tree.leaves(masks.pack(kept)))
    held = sum(mask.nbytes for mask in jax.tree.leaves(kept))
    yield Line(
        "pruning",
        "masks in memory, and packed as on disk",
        "weights",
        f"{held / weights:.0f} byte, {8 * packed / weights:.2f} bit a weight",
        "-",
        "1 byte, 1 bit",
    )


def imp() -> Iterator[Line]:
    """A whole run of 15 levels: what is not training, and what is compiled late.

    On MNIST where TFDS_DATA_DIR says in which folder that is, else on digits.
    """
    config = config_lib.default()
    config.model.options = {"widths": (300, 100)}
    changes = {
        "data.name": "mnist" if "TFDS_DATA_DIR" in os.environ else "digits",
        "data.dir": os.environ.get("TFDS_DATA_DIR", ""),
        "replicates": len(jax.devices()),
        "optim.name": "adam",
        "optim.learning_rate": 1.2e-3,
        "train.length": "24000it",
        "prune.levels": 15,
        "branches": ("ticket",),
    }
    config.update_from_flattened_dict(changes)
    found = runs.levels(config.lock())
    work = f"LeNet-300-100 on {config.data.name}, 15 levels of 24,000 steps"
    yield Line(
        "imp",
        work,
        "wall time",
        f"{found.outside:.1f} s",
        f"{found.outside / found.whole:.1%} outside fit",
        "<= 5 %",
    )
    yield Line("imp", work, "-", f"{found.late} compilations", "after level 1", "0")


def checkpoint() -> Iterator[Line]:
    """How long training waits while ResNet-50, with its momentum, is saved."""
    member = state.create(
        jax.random.key(0),
        jnp.zeros((1, 64, 64, 3)),
        models.create("resnet50", num_classes=1000),
        optim.optimizer("sgd", 0.1, None, momentum=0.9),
    )
    jax.block_until_ready(member)
    waits, writes = [], []
    with tempfile.TemporaryDirectory() as directory:
        workdir = Workdir(Path(directory))
        for _ in range(6):
            waits.append(
                timed(lambda: workdir.pause({Member(0, 0, 1, "ticket", 0): member}), 1)
            )
            writes.append(waits[-1] + timed(workdir.paused.wait, 1))
    epoch = 1_281_167 * 3 * 8.2e9 / matmul_peak()  # 4.1 GMAC forward, twice back
    wait = statistics.median(waits[1:])
    yield Line(
        "checkpoint",
        "a pause of ResNet-50: parameters, momentum, masks",
        f"the write, {text(writes[1:])}",
        f"{text(waits[1:])} waited",
        f"{wait / epoch:.1e} of an epoch of ImageNet, {wait / 600:.2%} of the ten "
        "minutes from pause to pause",
        "<= 1 %",
        f"an epoch at peak FLOP/s: {epoch / 3600:.0f} h",
    )


def start() -> Iterator[Line]:
    """From the command to the first training step, twice with one compilation cache."""
    taken = runs.to_first_steps(4)
    next_ones = statistics.median(taken[1:])
    for name, seconds, target in (
        ("first run", taken[0], 6),
        (f"next runs, n = {len(taken) - 1}", next_ones, 4),
    ):
        yield Line(
            "start",
            f"to the first steps of digits, {name}",
            "-",
            f"{seconds:.1f} s",
            "-",
            f"<= {target} s",
        )


def path() -> Iterator[Line]:
    """Distance, overlap and the error along a path of ResNet-20, 30 points.

    With batch statistics of one end: nothing is recomputed.
    """
    dataset = ours.images(250, 32, 3)
    program = ours.resnet20(dataset)
    a, b = ours.tickets(program, 2, (32, 32, 3))
    evaluate = Evaluator(
        program.network,
        program.task,
        dataset.test,
        ours.normalised(dataset),
        program.layout,
        batch_size=250,
    )
    alphas = jnp.linspace(0, 1, 30)

    def study() -> None:
        measures.distance(a.params, b.params, a.masks).block_until_ready()
        measures.top_overlap(a.params, b.params, 0.2, a.masks).block_until_ready()
        line = measures.interpolate(a.params, b.params, alphas)
        evaluate(
            [
                replace(a, params=jax.tree.map(lambda x, i=i: x[i], line))
                for i in range(len(alphas))
            ]
        )

    study()
    compiled = []
    with runs.compilations(lambda: compiled.append(1)):
        found = compare(
            lambda: timed(study, 1),
            lambda: timed(lambda: [evaluate([a]) for _ in range(30)], 1),
        )
    shares = [1 / ratio for ratio in found.ratios]
    yield Line(
        "path",
        "distance, overlap and 30 points between two ResNet-20, 250 images",
        "30 evaluations",
        f"{text(found.ours)}, {len(compiled)} compilations after the first study",
        f"{statistics.median(shares):.2f}x the time ({min(shares):.2f} to "
        f"{max(shares):.2f}, n = {len(shares)})",
        "<= 1.1x",
    )


SUITE: dict[str, Callable[[], Iterator[Line]]] = {
    "lenet": steps.lenet,
    "pieces": steps.pieces,
    "moves": steps.moves,
    "resnet20": steps.resnet20,
    "pruning": pruning,
    "imp": imp,
    "checkpoint": checkpoint,
    "start": start,
    "path": path,
}
