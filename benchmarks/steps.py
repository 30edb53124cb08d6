"""Steps: what a step of a training takes, and what its parts do."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import torch
from scipy import stats

from benchmarks import ours, rivals
from benchmarks.measure import Line, compare, matmul_peak, text
from lth_jax import masks
from lth_jax.optim import optimizers as optim


def lenet() -> Iterator[Line]:
    """One LeNet-300-100, and a fleet of twelve."""
    dataset = ours.images(60_000, 28, 1)
    shape = (28, 28, 1)
    alone = ours.lenet(dataset, ours.fleet(jax.devices()[:1]))
    mine = ours.Training(alone, ours.tickets(alone, 1, shape), 1000)
    split = dataset.train
    # Forward, and back to all weights, but not to the images.
    floor = 2 * 60 * (3 * 266_200 - 784 * 300) / matmul_peak()

    def rival(fused: bool | None, batches: Iterator) -> rivals.Step:
        model = rivals.lenet(784, 10)
        adam = torch.optim.Adam(model.parameters(), lr=1.2e-3, fused=fused)
        return rivals.masked_step(model, adam, batches)

    memory = rivals.in_memory(split.images, split.labels, 60)
    work = "a masked step of LeNet-300-100, batch 60, Adam"
    for name, fused, target in (("default Adam", None, 3.0), ("fused Adam", True, 1.8)):
        found = compare(mine, rivals.Training(rival(fused, memory), 300))
        limit = f"{100 * floor / statistics.median(found.ours):.0f} % of peak FLOP/s"
        against = f"PyTorch in memory, {name}"
        yield Line(
            "lenet", work, against, text(found.ours), str(found), f">= {target}x", limit
        )
    images = rivals.per_image(split.images, split.labels, 60)
    found = compare(mine, rivals.Training(rival(None, images), 30))
    yield Line(
        "lenet",
        work,
        "PyTorch, image by image",
        text(found.ours),
        str(found),
        ">= 20x",
    )

    together = ours.lenet(dataset, ours.fleet(jax.devices()))
    twelve = ours.Training(together, ours.tickets(together, 12, shape), 500)
    work = "the same of 12 members as a fleet, per member"
    for against, other, target in (
        ("ours, one at a time", mine, 1.3),
        (
            "PyTorch in memory, fused Adam",
            rivals.Training(rival(True, memory), 300),
            2.0,
        ),
    ):
        found = compare(twelve, other)
        limit = f"{100 * floor / statistics.median(found.ours):.0f} % of peak FLOP/s"
        yield Line(
            "lenet", work, against, text(found.ours), str(found), f">= {target}x", limit
        )


def pieces() -> Iterator[Line]:
    """Where the time of LeNet's step goes: the same without one of its parts."""
    layout = ours.fleet(jax.devices()[:1])
    program = ours.lenet(ours.images(60_000, 28, 1), layout)
    members = ours.tickets(program, 1, (28, 28, 1))
    whole = ours.Training(program, members, 1000)
    still = ours.without_feed(program)
    plain = replace(program, optimizer=partial(optim.optimizer, "sgd"))
    momentless = plain.optimizer(0.1, None).init(members[0].params)
    descended = [replace(members[0], opt_state=momentless)]
    masks_of_none = jax.tree.map(lambda _: None, members[0].masks)
    unmasked = [replace(members[0], masks=masks_of_none)]
    for part, without in (
        ("its masks", ours.Training(program, unmasked, 1000)),
        ("a batch of its own", ours.Training(still, members, 1000)),
        ("Adam's moments", ours.Training(plain, descended, 1000)),
    ):
        found = compare(without, whole)
        share = 1 - 1 / statistics.median(found.ratios)
        yield Line(
            "pieces",
            f"the step of LeNet-300-100 without {part}",
            "the whole step",
            text(found.ours),
            f"{str(found)}: {share:.0%} of the step",
            "-",
        )


def moves() -> Iterator[Line]:
    """What masks that move every 100 steps add to the time of a training."""
    one = ours.fleet(jax.devices()[:1])
    lenet = ours.lenet(ours.images(60_000, 28, 1), one)
    resnet8 = ours.convolutional("resnet8", ours.images(10_000, 32, 3), one, 64)
    for name, program, shape, steps, pairs in (
        ("LeNet-300-100, batch 60", lenet, (28, 28, 1), 1000, 21),
        ("ResNet-8, batch 64", resnet8, (32, 32, 3), 100, 9),
    ):
        sparse, dense = (ours.tickets(program, 1, shape, d) for d in (0.1, 1.0))
        still, goal = ours.Training(program, sparse, steps), masks.kept(sparse[0].masks)
        for mover, members in (("set", sparse), ("rigl", sparse), ("gmp", dense)):
            moving = ours.moving(program, members, steps, mover, goal)
            found = compare(moving, still, pairs)
            ratios = np.sort([1 / ratio for ratio in found.ratios])
            end = int(stats.binom.ppf(0.025, pairs, 0.5)) - 1  # of 95 % for a median
            ends = f"{ratios[end]:.3f} to {ratios[-1 - end]:.3f}"
            share = f"{np.median(ratios):.3f}x the time ({ends}, n = {pairs})"
            work = f"{name}, to 10 %, moved by {mover}"
            yield Line("moves", work, "static", text(found.ours), share, "<= 1.03x")


def resnet20() -> Iterator[Line]:
    """ResNet-20 on images of CIFAR-10's size, with flip and crop."""
    dataset = ours.images(10_000, 32, 3)
    program = ours.resnet20(dataset)
    mine = ours.Training(program, ours.tickets(program, 1, (32, 32, 3)), 6)
    floor = 31.2e9 / matmul_peak()
    for layout, target in (("NCHW", 1.0), ("channels_last", 0.85)):
        last = layout == "channels_last"
        model = rivals.resnet20()
        if last:
            model = model.to(memory_format=torch.channels_last)
        split = dataset.train
        batches = rivals.in_memory(
            split.images, split.labels, 128, crop=True, channels_last=last
        )
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        found = compare(
            mine, rivals.Training(rivals.masked_step(model, sgd, batches), 6)
        )
        rate = 128 / statistics.median(found.ours)
        limit = f"{100 * floor / statistics.median(found.ours):.0f} % of peak FLOP/s"
        yield Line(
            "resnet20",
            "a masked, augmented step of ResNet-20, batch 128",
            f"PyTorch in memory, {layout}",
            f"{rate:.0f} images/s",
            str(found),
            f">= {target}x",
            limit,
        )
