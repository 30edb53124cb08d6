"""The networks as PyTorch modules, with the names that torchvision gives layers."""

from functools import partial

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


def unit(inputs, outputs, kernel, stride=1, padding=0, groups=1, act=nn.ReLU6):
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride, padding, groups=groups, bias=False
    )
    layers = [conv, nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Fire(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, width, 1)
        self.expand1x1 = nn.Conv2d(width, 4 * width, 1)
        self.expand3x3 = nn.Conv2d(width, 4 * width, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class SqueezeNet(nn.Module):
    def __init__(self):
        super().__init__()
        pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
        layers = [nn.Conv2d(3, 96, 7, 2), nn.ReLU(), pool()]
        inputs = 96
        for number, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64), 2):
            layers += [Fire(inputs, width)] + [pool()] * (number in (4, 8))
            inputs = 8 * width
        self.features = nn.Sequential(*layers)
        last = [nn.Conv2d(512, 10, 1), nn.ReLU()]
        self.classifier = nn.Sequential(nn.Dropout(), *last)

    def forward(self, x):
        return self.classifier(self.features(x)).mean((2, 3))


class Inverted(nn.Module):
    def __init__(self, inputs, width, stride, expansion, every):
        super().__init__()
        inner = expansion * inputs
        layers = [unit(inputs, inner, 1)] if expansion > 1 or every else []
        layers += [unit(inner, inner, 3, stride, 1, groups=inner)]
        self.conv = nn.Sequential(*layers, *unit(inner, width, 1, act=None))
        self.adds = stride == 1 and (every or inputs == width)
        if self.adds and inputs != width:
            self.shortcut = unit(inputs, width, 1, act=None)

    def forward(self, x):
        y = self.conv(x)
        x = self.shortcut(x) if hasattr(self, "shortcut") else x
        return x + y if self.adds else y


class MobileNet(nn.Module):
    def __init__(self, strides, every):
        super().__init__()
        layers, inputs = [unit(3, 32, 3, strides[0], 1)], 32
        stages = [(16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)]
        for (width, blocks), first in zip(stages, strides[1:]):
            for block in range(blocks):
                expansion = 1 if width == 16 else 6
                stride = 1 if block else first
                layers.append(Inverted(inputs, width, stride, expansion, every))
                inputs = width
        self.features = nn.Sequential(*layers, unit(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(1280, 10))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        sizes = [(inputs, width, 1), (width, width, 3), (width, 4 * width, 1)]
        for i, (a, b, kernel) in enumerate(sizes, 1):
            s = stride if i == 2 else 1
            conv = nn.Conv2d(a, b, kernel, s, kernel // 2, bias=False)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride > 1 or inputs != 4 * width:
            self.downsample = unit(inputs, 4 * width, 1, stride, act=None)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        x = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.bn3(self.conv3(y)) + x)


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1, inputs = nn.BatchNorm2d(64), 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            layers, width = [], 64 * 2**stage
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(inputs, width, stride))
                inputs = 4 * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(2048, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Unit(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


def half(kernel):
    return (kernel[0] // 2, kernel[1] // 2)


class Mixed(nn.Module):
    """Branches of (name, width, kernel) in turn; those in a list are side by side."""

    def __init__(self, inputs, branches, pool):
        super().__init__()
        self.branches = []
        for steps in branches:
            names, size = [], inputs
            for step in steps:
                together = step if isinstance(step, list) else [step]
                for name, width, kernel in together:
                    last = pool is None and step is steps[-1]
                    how = (2, 0) if last else (1, half(kernel))
                    setattr(self, name, Unit(size, width, kernel, *how))
                names.append([name for name, *_ in together])
                size = sum(width for _, width, _ in together)
            self.branches.append(names)
        if pool:
            self.branch_pool = Unit(inputs, pool, 1)

    def forward(self, x):
        found = []
        for names in self.branches:
            y = x
            for together in names:
                y = torch.cat([getattr(self, name)(y) for name in together], 1)
            found.append(y)
        if hasattr(self, "branch_pool"):
            pooled = nn.functional.avg_pool2d(x, 3, 1, 1)
            return torch.cat([*found, self.branch_pool(pooled)], 1)
        return torch.cat([*found, nn.functional.max_pool2d(x, 3, 2)], 1)


K1, K3, K5, W3, H3, W7, H7 = (1, 1), (3, 3), (5, 5), (1, 3), (3, 1), (1, 7), (7, 1)


def grid_35(pool):
    double = [("branch3x3dbl_1", 64, K1), ("branch3x3dbl_2", 96, K3)]
    return [
        [("branch1x1", 64, K1)],
        [("branch5x5_1", 48, K1), ("branch5x5_2", 64, K5)],
        [*double, ("branch3x3dbl_3", 96, K3)],
    ], pool


def grid_17(width):
    kernels = [K1, H7, W7, H7, W7]
    double = [(f"branch7x7dbl_{i}", width, k) for i, k in enumerate(kernels, 1)]
    double[-1] = ("branch7x7dbl_5", 192, W7)
    seven = [("branch7x7_1", width, K1), ("branch7x7_2", width, W7)]
    return [
        [("branch1x1", 192, K1)],
        [*seven, ("branch7x7_3", 192, H7)],
        double,
    ], 192


def grid_8():
    pairs = [
        [(f"{name}a", 384, W3), (f"{name}b", 384, H3)]
        for name in ("branch3x3_2", "branch3x3dbl_3")
    ]
    return [
        [("branch1x1", 320, K1)],
        [("branch3x3_1", 384, K1), pairs[0]],
        [("branch3x3dbl_1", 448, K1), ("branch3x3dbl_2", 384, K3), pairs[1]],
    ], 192


class Aux(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv0, self.conv1 = Unit(768, 128, 1), Unit(128, 768, 5)
        self.fc = nn.Linear(768, 10)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, 1, 1)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        to_17 = [
            [("branch3x3", 384, K3)],
            [(f"branch3x3dbl_{i}", n, k) for i, n, k in ((1, 64, K1), (2, 96, K3))]
            + [("branch3x3dbl_3", 96, K3)],
        ]
        steps = ((1, 192, K1), (2, 192, W7), (3, 192, H7), (4, 192, K3))
        to_8 = [
            [("branch3x3_1", 192, K1), ("branch3x3_2", 320, K3)],
            [(f"branch7x7x3_{i}", n, k) for i, n, k in steps],
        ]
        blocks = [grid_35(32), grid_35(64), grid_35(64), (to_17, None)]
        blocks += [*map(grid_17, (128, 160, 160, 192)), (to_8, None)]
        blocks += [grid_8(), grid_8()]
        inputs = (192, 256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048)
        grids = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]
        self.names = [f"Mixed_{grid}" for grid in grids]
        for name, size, block in zip(self.names, inputs, blocks):
            setattr(self, name, Mixed(size, *block))
        self.AuxLogits, self.fc = Aux(), nn.Linear(2048, 10)

    def forward(self, x):
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = nn.functional.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = nn.functional.max_pool2d(x, 3, 2)
        for name in self.names:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))
