"""Ordinary networks for CIFAR-10 as people publish them, retyped small; each with the shape of its images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published_blocks import (
    Add,
    BasicBlock,
    ConvNextBlock,
    DenseLayer,
    Fire,
    Inception,
    InvertedResidual,
    PreActBlock,
    Scale,
    conv_bn,
)


class LeNet5(nn.Module):
    """Its activations and pooling are functions."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 5), nn.Conv2d(3, 4, 3)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16, 12), nn.Linear(12, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Vgg(nn.Module):
    """VGG with batch normalisation: ``features`` from a list of widths, ``classifier``."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width in (4, "M", 6, 6, "M", 8, "M"):
            layers += [nn.MaxPool2d(2, 2)] if width == "M" else conv_bn(channels, width)
            channels = channels if width == "M" else width
        self.features, self.avgpool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d((1, 1))
        self.classifier = nn.Sequential(nn.Linear(8, 12), nn.ReLU(True), nn.Dropout(), nn.Linear(12, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def network_in_network() -> nn.Sequential:
    """Mlpconv layers, each with 1 x 1 convolutions; the mean of each class's map is its logit."""

    def mlpconv(c_in, c_mid, c_out, kernel):
        first = nn.Conv2d(c_in, c_mid, kernel, padding=kernel // 2)
        return [first, nn.ReLU(), nn.Conv2d(c_mid, c_mid, 1), nn.ReLU(), nn.Conv2d(c_mid, c_out, 1), nn.ReLU()]

    return nn.Sequential(
        *(*mlpconv(3, 5, 4, 5), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)),
        *(*mlpconv(4, 5, 6, 3), nn.AvgPool2d(3, 2, padding=1), nn.Dropout(0.5)),
        *(*mlpconv(6, 6, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


class ResNet(nn.Module):
    """Of basic blocks."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(BasicBlock(4, 4), BasicBlock(4, 4))
        self.layer2 = nn.Sequential(BasicBlock(4, 6, 2), BasicBlock(6, 6))
        self.linear = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return self.linear(F.avg_pool2d(out, out.size(-1)).flatten(1))


def resnet9() -> nn.Sequential:
    """As those that train fastest: CELU, two residual pairs, scaled logits."""

    def conv(c_in, c_out):
        return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.CELU(0.3))

    return nn.Sequential(
        *(conv(3, 4), conv(4, 5), nn.MaxPool2d(2), Add(conv(5, 5), conv(5, 5))),
        *(conv(5, 6), nn.MaxPool2d(2), Add(conv(6, 6), conv(6, 6))),
        *(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 10, bias=False), Scale(0.125)),
    )


def preact_resnet() -> nn.Sequential:
    """Pre-activation blocks."""
    blocks = nn.Conv2d(3, 4, 3, padding=1, bias=False), PreActBlock(4, 4), PreActBlock(4, 6, 2), PreActBlock(6, 6)
    return nn.Sequential(*blocks, nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))


def densenet() -> nn.Sequential:
    """Two dense blocks with a transition between them."""
    transition = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False), nn.AvgPool2d(2))
    first, second = (nn.Sequential(DenseLayer(4, 2), DenseLayer(6, 2)) for _ in range(2))
    head = nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), first, transition, second, *head)


def squeezenet() -> nn.Sequential:
    """Fire modules, and a convolution that classifies."""
    body = (
        nn.Conv2d(3, 6, 3, 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(6, 2, 3),
        Fire(6, 3, 4),
    )
    head = nn.Dropout(0.5), nn.Conv2d(8, 10, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()
    return nn.Sequential(*body, *head)


def googlenet() -> nn.Sequential:
    """Two inception modules."""
    body = *conv_bn(3, 4), Inception(4), nn.MaxPool2d(3, stride=2, padding=1), Inception(8)
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


class MobileNet(nn.Module):
    """MobileNet of inverted residuals, with a squeeze-and-excitation gate behind them."""

    def __init__(self):
        super().__init__()
        blocks = InvertedResidual(4, 4, 1), InvertedResidual(4, 6, 2), InvertedResidual(6, 6, 1)
        self.features = nn.Sequential(*conv_bn(3, 4), *blocks)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 2, 1), nn.SiLU(), nn.Conv2d(2, 6, 1), nn.Sigmoid()
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier((x * self.gate(x)).mean([2, 3]))


def convnext() -> nn.Sequential:
    """A stem of patches, blocks, and GroupNorm in place of its LayerNorm over channels."""
    stem = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.GroupNorm(1, 4))
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 10)
    return nn.Sequential(stem, ConvNextBlock(4), ConvNextBlock(4), *head)


class UNet(nn.Module):
    """Down, up again by a transposed convolution, beside what was there before; a map of 10 classes' mean logits."""

    def __init__(self):
        super().__init__()
        self.inc, self.down = nn.Sequential(*conv_bn(3, 4)), nn.Sequential(nn.MaxPool2d(2), *conv_bn(4, 6))
        self.up, self.conv = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Sequential(*conv_bn(8, 4))
        self.outc = nn.Conv2d(4, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        before = self.inc(x)
        x = self.up(self.down(before))
        more = before.size(3) - x.size(3), before.size(2) - x.size(2)
        x = F.pad(x, [more[0] // 2, more[0] - more[0] // 2, more[1] // 2, more[1] - more[1] // 2])
        return self.outc(self.conv(torch.cat([before, x], dim=1))).mean((2, 3))


class M5(nn.Module):
    """On the samples of a sound; log-probabilities."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.pool1 = nn.Conv1d(1, 4, 9, stride=4), nn.BatchNorm1d(4), nn.MaxPool1d(2)
        self.conv2, self.bn2, self.pool2 = nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.MaxPool1d(2)
        self.fc1 = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(F.relu(self.bn1(self.conv1(x))))
        x = self.pool2(F.relu(self.bn2(self.conv2(x))))
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.fc1(x), dim=2).squeeze(1)


IMAGE = (3, 12, 12)
NETWORKS = {
    "LeNet-5": (LeNet5, (3, 18, 18)),
    "VGG": (Vgg, IMAGE),
    "network in network": (network_in_network, IMAGE),
    "ResNet": (ResNet, IMAGE),
    "ResNet-9": (resnet9, IMAGE),
    "pre-activation ResNet": (preact_resnet, IMAGE),
    "DenseNet": (densenet, IMAGE),
    "SqueezeNet": (squeezenet, IMAGE),
    "GoogLeNet": (googlenet, IMAGE),
    "MobileNet": (MobileNet, IMAGE),
    "ConvNeXt": (convnext, IMAGE),
    "U-Net": (UNet, (3, 9, 11)),
    "M5": (M5, (1, 96)),
}


def network(name: str, seed: int = 0) -> tuple[nn.Module, tuple[int, ...]]:
    """One of them, float64, in evaluation mode, of statistics that no start has; and its images' shape."""
    make, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        result = make().double()
        for layer in result.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data *= 2  # PyTorch's start is so small that 9 layers down nothing is left to learn from
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean.normal_(std=0.3)
                layer.running_var.uniform_(0.5, 2)
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, std=0.3)
    return result.eval(), shape
