"""Random paths, and what can be read from figures of them."""

import numpy as np

TIMES = (0, 3, 6, 24)
ALPHA = [0, 0.25, 0.5, 0.75, 1]


def history(rng, method="linear"):
    names = ["train_loss", "test_accuracy", "held_accuracy", "report_accuracy"]
    names += [] if method == "output" else ["delta", "sharing"]
    rows = {name: rng.random(5).tolist() for name in names}
    for values in rows.values():  # every method has the same ends
        values[0], values[-1] = 0.3, 0.6
    return {"alpha": ALPHA} | rows


def paths(methods=("linear", "string", "output"), seeds=1, times=TIMES):
    rng = np.random.default_rng(0)
    return {tw: {m: [history(rng, m) for _ in range(seeds)] for m in methods} for tw in times}


def panels(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>" and ax.get_visible()]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def assert_legible(figure):
    figure.draw_without_rendering()
    sizes = [label.get_fontsize() for ax in figure.axes for label in (*ax.get_xticklabels(), ax.xaxis.label)]
    assert min(sizes) >= 9
    assert figure.get_figwidth() <= 9
