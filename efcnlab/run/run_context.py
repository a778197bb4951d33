"""Where and how runs are computed: what they share, and what is no part of a run's key."""

from dataclasses import dataclass, field

import torch

from efcnlab.config.studies import Dataset
from efcnlab.run import study_images
from efcnlab.store.run_store import Store
from efcnlib.data.images import Split, to_device
from efcnlib.errors import UserError
from efcnlib.training.engine import Engine


@dataclass
class RunContext:
    """Where and how runs are computed: no part of a run's key.

    :param store: Where their parents are.
    :param device: "cpu", "cuda" or "cuda:1"; images stay on it.
    :param data_root: Where images are read from, see `efcnlab.run.study_images.load_images`.
    :param engine: How training steps are computed.

    >>> from efcnlab.run.run_context import RunContext, Store
    >>> from efcnlab.config.studies import load
    >>> train, test = RunContext(Store("example")).splits(load("digits").data)
    >>> len(train), len(test)
    (1437, 360)
    """

    store: Store
    device: str = "cpu"
    data_root: str | None = None
    engine: Engine = field(default_factory=Engine)
    _splits: dict[Dataset, tuple[Split, Split]] = field(default_factory=dict, init=False, repr=False)

    def splits(self, data: Dataset) -> tuple[Split, Split]:
        """Training and test images on the device, loaded once."""
        if data not in self._splits:
            loaded = study_images.load_images(data, self.data_root)
            self._splits[data] = to_device(loaded, self.device, train=data.train, test=data.test)
        return self._splits[data]

    def stream(self, new: bool = False) -> "torch.cuda.Stream | None":
        """The stream of a GPU that is in use, or a new one; a CPU has none."""
        if torch.device(self.device).type != "cuda":
            return None
        return torch.cuda.Stream(self.device) if new else torch.cuda.current_stream(self.device)


def check_device(device: str) -> None:
    """Make sure that PyTorch can compute on a device.

    :param device: "cpu", "cuda", "cuda:1".
    :raises UserError: Where it is not here; it names those that are.

    >>> from efcnlab.run.run_context import check_device
    >>> check_device("cpu")
    >>> check_device("gpu")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: device 'gpu' is not here: choose one of cpu...
    """
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in found and not (device == "cuda" and len(found) > 1):
        raise UserError(f"device {device!r} is not here: choose one of {', '.join(found)}")
