"""The page that trains: a CNN on the digits, and the eFCN that it becomes, in the reader's own browser.

It is a piece of HTML that holds the images and needs nothing else, neither a kernel nor a network. Its worker takes the
steps of `efcnlib.Trainer`, in float64; its looks are the explorer's.
"""

import base64
import html
import json
import zlib
from importlib import resources

import torch
from IPython.display import display
from torch import Tensor, nn

from efcnbook.explorer import page as explorer
from efcnlab.data import datasets
from efcnlib.data.images import channel_statistics
from efcnlib.errors import UserError
from efcnlib.networks import initialise

LEARNING_RATE = 0.1  # of plain SGD, for the CNN and the eFCN
# Of each choice, in the order of `page`: its words, the least and the most.
RANGES = (
    ("channels", 1, 16),
    ("seed", 0, 2**31 - 1),
    ("batch", 1, 1437),
    ("last relax time", 0, 60),
    ("epochs after the embedding", 1, 60),
)


def network(channels: int = 6, seed: int = 0) -> nn.Sequential:
    """The CNN that the page trains, as it starts, in float64.

    >>> from efcnbook import training_page
    >>> sum(parameter.numel() for parameter in training_page.network().parameters())
    1030
    """
    cnn = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(channels * 4 * 4, 10),
    )
    return initialise(cnn.double(), torch.Generator().manual_seed(seed))


def show(*choice: int) -> None:
    """Display the page in a notebook; arguments and errors as for `page`."""
    alt = "A page on which a browser trains a CNN and its eFCN, with curves of what it measures."
    display({"text/html": page(*choice), "text/plain": alt}, raw=True)


def page(channels: int = 6, seed: int = 0, batch: int = 50, last_tw: int = 20, epochs: int = 20) -> str:
    """HTML that trains `network` until ``last_tw`` at most, in epochs, and its eFCN for ``epochs`` more.

    Plain SGD on ``batch`` images at a time, in an order decided by ``seed``. UserError for a value out of `RANGES`.
    """
    for (words, least, most), value in zip(RANGES, (channels, seed, batch, last_tw, epochs), strict=True):
        if not isinstance(value, int) or not least <= value <= most:
            raise UserError(f"{words} {value} is not allowed: give a whole number from {least} to {most:,}")
    images = datasets.load("digits")
    x, y = torch.cat([images.train_x, images.test_x]), torch.cat([images.train_y, images.test_y])
    mean, deviation = (value.item() for value in channel_statistics(images.train_x))
    setup = {
        "channels": channels,
        "seed": seed,
        "rate": LEARNING_RATE,
        "batch": batch,
        "lastTime": last_tw,
        "epochs": epochs,
        "train": len(images.train_y),
        "mean": mean,
        "deviation": deviation,
        "images": _packed(x.flatten(), y.byte()),
        "start": _packed(*(value.flatten() for value in network(channels, seed).state_dict().values())),
    }
    data = html.escape(json.dumps(setup))
    words = "<noscript><p>This page needs JavaScript: it is your browser that trains the networks.</p></noscript>"
    style = f"<style>{explorer.style()}{_read('training.css')}</style>"
    worker = f'<script type="text/plain" class="efcn-worker">{_read("network.js")}{_read("worker.js")}</script>'
    script = f'"use strict";\n{explorer.script()}{_read("growing.js")}{_read("training.js")}'
    root = f'<div class="efcn-training" data-setup="{data}">{style}{words}{worker}</div>'
    return f"{root}<script>(() => {{\n{script}}})();</script>"


def _packed(*parts: Tensor) -> str:
    """The parts' bytes, one after the other, deflated, as base64."""
    return base64.b64encode(zlib.compress(b"".join(part.numpy().tobytes() for part in parts), 9)).decode()


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text("utf-8")
