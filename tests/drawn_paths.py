"""What can be read from figures."""


def panels(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>" and ax.get_visible()]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def assert_legible(figure):
    figure.draw_without_rendering()
    sizes = [label.get_fontsize() for ax in figure.axes for label in (*ax.get_xticklabels(), ax.xaxis.label)]
    assert min(sizes) >= 9
    assert figure.get_figwidth() <= 9
