"""Rivals: what current lottery-ticket code does, and a loop in plain PyTorch.

The first is written as that code is: a masked loop that loads and transforms image by
image. The others keep their data in memory as tensors, take batches by index, and
multiply the gradients by the masks.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks.measure import timed

Step = Callable[[], object]
Cut = Callable[[Tensor, int], Tensor]  # from numbers to the n-th smallest


class Training:
    """A rival's step that is taken again and again, and seconds of each."""

    together = 1  # networks

    def __init__(self, step: Step, steps: int):
        self.step, self.steps = step, steps

    def __call__(self) -> float:
        """Take some steps; return seconds per step."""

        def work() -> None:
            for _ in range(self.steps):
                self.step()
            wait()

        return timed(work, self.steps)


def wait() -> None:
    """Wait for what a GPU was given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def device() -> str:
    """Return where rivals of what an accelerator does are."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def lenet(inputs: int, classes: int) -> nn.Sequential:
    """Return LeNet-300-100."""
    layers = (nn.Linear(inputs, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(100, classes))


class Block(nn.Module):
    """A basic block of the CIFAR ResNet."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet20(first: int = 16, blocks: int = 3) -> nn.Sequential:
    """Return ResNet-20 for CIFAR-10, or one of another first width and depth."""
    layers = [nn.Conv2d(3, first, 3, 1, 1, bias=False)]
    layers += [nn.BatchNorm2d(first), nn.ReLU()]
    before = first
    for width in (first, 2 * first, 4 * first):
        for block in range(blocks):
            layers.append(Block(before, width, 2 if width > first and not block else 1))
            before = width
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, *pool, nn.Linear(before, 10))


def masked_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator,
    *,
    bfloat16: bool = False,
) -> Step:
    """Return a training step under masks that prune a fifth of all matrices.

    In bfloat16 by autocast, where that is asked for.
    """
    weights = [w for w in model.parameters() if w.ndim > 1]
    masks = [(torch.rand_like(w) > 0.2).to(w) for w in weights]
    with torch.no_grad():
        for w, mask in zip(weights, masks):
            w.mul_(mask)
    precision = partial(torch.autocast, device(), torch.bfloat16, bfloat16)

    def step() -> None:
        images, labels = next(batches)
        optimizer.zero_grad(set_to_none=True)
        with precision():
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        with torch.no_grad():
            for w, mask in zip(weights, masks):
                w.grad.mul_(mask)
        optimizer.step()

    return step


def in_memory(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    *,
    crop: bool = False,
    channels_last: bool = False,
    device: str = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised batches of images [n, h, w, c] that stay in memory as bytes."""
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    pixels = pixels.to(device)
    targets = torch.from_numpy(labels.astype(np.int64)).to(device)
    while True:
        order = torch.randperm(len(targets), device=device)
        for index in order.split(batch_size):
            if len(index) < batch_size:
                continue
            batch = pixels[index].float().div_(255).sub_(0.45).div_(0.25)
            if crop:
                batch = flip_crop(batch)
            if channels_last:
                batch = batch.contiguous(memory_format=torch.channels_last)
            yield batch, targets[index]


def flip_crop(images: Tensor) -> Tensor:
    """Mirror half of the images, pad by 4 pixels and crop at random, all at once."""
    (n, _, height, width), on = images.shape, {"device": images.device}
    padded = F.pad(images, (4, 4, 4, 4))
    rows = torch.randint(0, 9, (n, 1), **on) + torch.arange(height, **on)
    columns = torch.randint(0, 9, (n, 1), **on) + torch.arange(width, **on)
    mirrored = torch.rand(n, 1, **on) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(n, **on)[:, None, None]
    found = padded[each, :, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2).contiguous()


def per_image(
    images: np.ndarray, labels: np.ndarray, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches that a DataLoader makes image by image, through Pillow.

    Each image takes the way of torchvision's `MNIST`, `ToTensor` and `Normalize`, call
    by call, without a dependency on it.
    """
    pixels = torch.from_numpy(images[..., 0])

    def to_tensor(image: Image.Image) -> Tensor:
        array = np.array(image, np.uint8, copy=True)
        tensor = torch.from_numpy(array).view(*image.size[::-1], 1)
        return (
            tensor.permute(2, 0, 1).contiguous().to(torch.get_default_dtype()).div(255)
        )

    def normalize(tensor: Tensor) -> Tensor:
        found = tensor.clone()
        mean, std = (torch.as_tensor([x], dtype=found.dtype) for x in (0.13, 0.31))
        return found.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, i: int) -> tuple[Tensor, int]:
            image = Image.fromarray(pixels[i].numpy())
            return normalize(to_tensor(image)), int(labels[i])

    while True:
        yield from torch.utils.data.DataLoader(
            Images(), batch_size, shuffle=True, drop_last=True
        )


def kthvalue(numbers: Tensor, n: int) -> Tensor:
    """Return the n-th smallest number by selection."""
    return torch.kthvalue(numbers, n).values


def sort(numbers: Tensor, n: int) -> Tensor:
    """Return the n-th smallest number by sorting."""
    return torch.sort(numbers).values[n - 1]


def pruned(tensors: Sequence[Tensor], n: int, cut: Cut) -> list[Tensor]:
    """Return masks without the n smallest magnitudes of all tensors together."""
    threshold = cut(torch.cat([t.ravel() for t in tensors]).abs(), n)
    return [t.abs() > threshold for t in tensors]
