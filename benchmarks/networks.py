"""Networks: ways to train them on an accelerator, ours and those of PyTorch."""

import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax

from benchmarks import ours
from benchmarks.figures import Budget, Figure, Way, compared, rates
from lth_jax import data
from lth_jax.devices.layout import Layout
from lth_jax.models import lean
from lth_jax.train.step import Program

_TRIED = 16  # steps of a first call, which compiles
_DIFFERENT = 4  # members whose weights and masks differ: those of others are the same
# Seconds of a way, guessed high: to compile it, to measure it.
_ESTIMATES = {"lenet": 20, "resnet20": 35, "vgg16": 50, "resnet50": 70}
_COMPILED = 3  # times as long, where PyTorch compiles

images = functools.cache(ours.images)


def layout(way: str) -> Layout:
    """Return how members go over the first device, by the name of the way."""
    of = ("fleet", tuple(jax.devices()[:1]))
    if way == "mapped":
        return ours.Mapped(*of)
    return Layout(*of, members=1 if way == "in turn" else 0)


@functools.cache
def cifar(name: str, way: str, dtype: str, tiny: bool) -> Program:
    """Return the training of a network on images of CIFAR-10's size.

    It is the same object for the same way, so that it is compiled once for a size.
    """
    fields: dict[str, Any] = {"dtype": dtype}
    if tiny:
        small = {"resnet20": "cifar_resnet", "vgg16": "vgg11"}
        fields |= {"depth": 8, "width": 4} if name == "resnet20" else {}
        name = small[name]
    if way == "products":
        fields["conv"] = lean.Products
    return ours.convolutional(
        name,
        images(64, 16, 3) if tiny else images(10_000, 32, 3),
        layout(way),
        batch_size=8 if tiny else 128,
        **fields,
    )


def imagenet(tiny: bool) -> data.Dataset:
    """Return images of ImageNet's size."""
    return images(16, 32, 3) if tiny else images(1024, 224, 3)


def resnet50(tiny: bool) -> dict[str, Any]:
    """Return what names ResNet-50 in bfloat16, and says how large it is."""
    small = {"name": "resnet18", "width": 4} if tiny else {"name": "resnet50"}
    return small | {"num_classes": 1000, "dtype": "bfloat16"}


def training(program: Program, members: int, tiny: bool = False) -> ours.Training:
    """Return the training of some members of a program."""
    members = min(members, 2) if tiny else members
    some = ours.tickets(program, min(members, _DIFFERENT), program.feed.example.shape)
    fleet = [some[i % len(some)] for i in range(members)]
    return ours.Training(program, fleet, 2 if tiny else _TRIED)


def torch_training(
    network: str,
    dataset: data.Dataset,
    batch_size: int,
    tiny: bool,
    *,
    bfloat16: bool = False,
    compiled: str = "",
) -> Any:
    """Return the training of the same network in PyTorch, on the same card.

    Args:
        network: LeNet by fused Adam, others by momentum; CIFAR's are augmented.
        dataset, batch_size, tiny: images, which stay on the card; as small as ours.
        bfloat16: by autocast, with images and kernels in `channels_last`.
        compiled: the mode of `torch.compile`, if any.
    """
    import torch

    from benchmarks import rivals

    device, split = rivals.device(), dataset.train
    if tiny:
        torch.set_num_threads(1)  # several wait for one another where cores are busy
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as JAX has it
    model = _torch_model(network, tiny).to(device)
    if bfloat16:
        model = model.to(memory_format=torch.channels_last)
    if network == "lenet":
        optimizer = torch.optim.Adam(model.parameters(), lr=1.2e-3, fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if compiled:
        how: Any = {"backend": "eager"} if tiny else {"mode": compiled}
        model = torch.compile(model, **how)
    crop = network == "resnet20"
    options = {"channels_last": bfloat16, "device": device, "crop": crop}
    batches = rivals.in_memory(split.images, split.labels, batch_size, **options)
    step = rivals.masked_step(model, optimizer, batches, bfloat16=bfloat16)
    return rivals.Training(step, 2 if tiny else _TRIED)


def _torch_model(network: str, tiny: bool) -> Any:
    from benchmarks import rivals

    if network == "resnet50":
        from torchvision import models

        return models.resnet18() if tiny else models.resnet50()
    if network == "lenet":
        return rivals.lenet(784, 10)
    return rivals.resnet20(4, 1) if tiny else rivals.resnet20()


def alone(budget: Budget, name: str) -> Iterator[Figure]:
    """One network of CIFAR, in both precisions, beside PyTorch."""
    tiny, each = budget.tiny, _ESTIMATES[name]
    some, batch_size = images(64, 16, 3) if tiny else images(10_000, 32, 3), 128
    batch_size = 8 if tiny else batch_size

    def ours_in(dtype: str, way: str = "in turn") -> Callable[[], Any]:
        return lambda: training(cifar(name, way, dtype, tiny), 1, tiny)

    ways = [Way(dtype, ours_in(dtype), each) for dtype in ("float32", "bfloat16")]
    if name == "resnet20":
        rival = partial(torch_training, name, some, batch_size, tiny)
        fast = partial(rival, bfloat16=True)
        compiled = partial(fast, compiled="reduce-overhead")
        wait = _COMPILED * each
        ways += [
            Way("torch bfloat16", fast, each, "bfloat16"),
            Way("torch bfloat16 compiled", compiled, wait, "bfloat16"),
            Way("torch float32", rival, each, "float32"),
            Way("products float32", ours_in("float32", "products"), each, "float32"),
        ]
    yield from compared(f"{name}/1", ways, budget, rates(batch_size))


def fleet(
    budget: Budget, name: str, members: int, dtype: str = "float32"
) -> Iterator[Figure]:
    """A fleet of CIFAR's networks: the ways in which members can go."""
    tiny = budget.tiny

    def make(way: str) -> ours.Training:
        return training(cifar(name, way, dtype, tiny), members, tiny)

    names = ("vmapped", "in turn", "products", "mapped")
    ways = [
        Way(
            f"{way} {dtype}",
            partial(make, way),
            _ESTIMATES[name],
            None if way == "vmapped" else f"vmapped {dtype}",
        )
        for way in names
    ]
    units = rates(8 if tiny else 128)
    yield from compared(f"{name}/{members}", ways, budget, units)


def lenet(budget: Budget, members: int) -> Iterator[Figure]:
    """LeNet-300-100 on images of MNIST's size: one beside PyTorch, or a fleet."""
    tiny, each = budget.tiny, _ESTIMATES["lenet"]
    some = images(600 if tiny else 60_000, 28, 1)

    def make(way: str) -> ours.Training:
        return training(ours.lenet(some, layout(way)), members, tiny)

    ways = [Way("vmapped float32", partial(make, "vmapped"), each + members / 16)]
    if members == 1:
        rival = partial(torch_training, "lenet", some, 60, tiny)
        compiled = partial(rival, compiled="reduce-overhead")
        ways = [
            Way("float32", partial(make, "in turn"), each),
            Way("torch float32", rival, each, "float32"),
            Way("torch float32 compiled", compiled, _COMPILED * each, "float32"),
        ]
    elif members <= 16:
        turns = partial(make, "in turn")
        ways.append(Way("in turn float32", turns, each, "vmapped float32"))
    yield from compared(f"lenet/{members}", ways, budget, rates(60))


def resnet50_in_memory(budget: Budget) -> Iterator[Figure]:
    """ResNet-50 in bfloat16 on images in memory, not augmented, beside PyTorch."""
    tiny, each = budget.tiny, _ESTIMATES["resnet50"]
    batch_size = 4 if tiny else 256

    def make() -> ours.Training:
        some, fields = imagenet(tiny), resnet50(tiny)
        program = ours.convolutional(
            dataset=some,
            layout=layout("in turn"),
            batch_size=batch_size,
            augmentation="none",
            **fields,
        )
        return training(program, 1, tiny)

    def rival(compiled: str = "") -> Any:
        some, options = imagenet(tiny), {"bfloat16": True, "compiled": compiled}
        return torch_training("resnet50", some, batch_size, tiny, **options)

    compiled = partial(rival, "default")
    ways = [
        Way("bfloat16", make, each),
        Way("torch bfloat16", rival, each, "bfloat16"),
        Way("torch bfloat16 compiled", compiled, _COMPILED * each, "bfloat16"),
    ]
    yield from compared("resnet50/memory", ways, budget, rates(batch_size))
