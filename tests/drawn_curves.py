"""Random histories of training, and what can be read from figures of them."""

TIMES = (0, 3, 20)
EPOCHS = [0, 1, 4, 15]
LAYERS = 2


def history(rng, epochs=EPOCHS):
    """A dense run's history of random numbers."""
    names = ("test_accuracy", "train_loss", "delta", "sharing", "accuracy_local", "accuracy_off_local")
    per_layer = {name: rng.random((len(epochs), LAYERS)).tolist() for name in ("delta_by_layer", "sharing_by_layer")}
    return {"epoch": epochs} | {name: rng.random(len(epochs)).tolist() for name in names} | per_layer


def each(rng):
    return {tw: history(rng) for tw in TIMES}


def data_axes(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def assert_labelled(figure):
    figure.draw_without_rendering()
    for ax in data_axes(figure):
        assert any(sharing.get_ylabel() for sharing in ax.get_shared_y_axes().get_siblings(ax))
    assert data_axes(figure)[-1].get_xlabel()
    sizes = [label.get_fontsize() for ax in figure.axes for label in (*ax.get_xticklabels(), ax.xaxis.label)]
    assert min(sizes) >= 9
    assert figure.get_figwidth() <= 9
