"""Random histories of training."""

TIMES = (0, 3, 20)
EPOCHS = [0, 1, 4, 15]
LAYERS = 2


def history(rng, epochs=EPOCHS):
    """A dense run's history of random numbers."""
    names = ("test_accuracy", "train_loss", "delta", "sharing", "accuracy_local", "accuracy_off_local")
    per_layer = {name: rng.random((len(epochs), LAYERS)).tolist() for name in ("delta_by_layer", "sharing_by_layer")}
    return {"epoch": epochs} | {name: rng.random(len(epochs)).tolist() for name in names} | per_layer
