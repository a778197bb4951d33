"""What a CNN's run keeps in its weights file, for what starts from there: its state after each epoch. ::

    EPOCH/PARAMETER                  its weights
    moments/EPOCH/PARAMETER/NAME     what its optimiser has gathered, where it gathers anything

A relax time, any epoch of the CNN, is where an eFCN or a control starts.
"""

from torch import Tensor

from efcnlab.config.runs import Training
from efcnlab.store.run_folder import WEIGHTS
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from efcnlib.training.optimisers import strip_prefix

MOMENTS = "moments"


def cnn_weights(store: Store, cnn: Training, epoch: int) -> dict[str, Tensor]:
    """The CNN's weights after ``epoch`` epochs; UserError names the epochs there are.

    >>> from efcnlab.store.cnn_checkpoints import Store, cnn_weights
    >>> from efcnlab.config.studies import load
    >>> cnn_weights(Store("example"), load("digits").cnn(seed=0), epoch=30)
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: relax time 30 has no checkpoint: the CNN was trained for epochs 0 to 20
    """
    if not 0 <= epoch <= cnn.epochs:
        raise UserError(f"relax time {epoch} has no checkpoint: the CNN was trained for epochs 0 to {cnn.epochs}")
    prefix = f"{epoch}/"
    return strip_prefix(prefix, store.weights(key_of(cnn), prefix))


def cnn_optimiser_state(store: Store, cnn: Training, epoch: int) -> dict[str, Tensor]:
    """The state of the CNN's optimiser after ``epoch`` epochs, "PARAMETER/NAME"; UserError if it was not kept.

    Nothing after 0 epochs, and nothing ever of plain SGD.
    """
    prefix = f"{MOMENTS}/{epoch}/"
    found = strip_prefix(prefix, store.weights(key_of(cnn), prefix))
    if epoch and cnn.optimiser.moment_names and not found:
        file = store.root / key_of(cnn) / WEIGHTS
        raise UserError(
            f"{cnn.label} was computed before its optimiser was kept with its weights: remove {file}, and they are"
            " computed again"
        )
    return found
