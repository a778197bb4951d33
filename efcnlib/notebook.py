"""What the notebooks share: showing figures, sentences and tables, and reading their text parameters."""

import ast
import base64
import html
import io
import re
from collections.abc import Iterable, Sequence

from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from PIL import Image

from efcnlib import networks, sweep
from efcnlib.errors import UserError, choice
from efcnlib.runs import untrained
from efcnlib.studies import Study

TW = "<i>t</i><sub>w</sub>"  # for captions, which are HTML


def show(figure: Figure, caption: str, alt: str) -> None:
    """Display a figure that needs no other file: ``caption`` is HTML, ``alt`` says in plain text what can be seen."""
    display({"text/html": framed(figure, caption, alt), "text/plain": alt}, raw=True)


def framed(figure: Figure, caption: str, alt: str, colours: int | None = None) -> str:
    """The HTML of a figure that needs no other file; with few ``colours``, at most 256, it is a third as large."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=2 * figure.dpi)  # sharp on dense screens
    if colours:
        every, picture = Image.open(picture).convert("RGB"), io.BytesIO()
        every.quantize(colours).save(picture, format="png", optimize=True)
    data = base64.b64encode(picture.getvalue()).decode()
    width = round(figure.get_figwidth() * figure.dpi)
    return (
        f'<figure style="margin: 1em 0; max-width: {width}px">'
        f'<img alt="{html.escape(alt)}" width="{width}" style="max-width: 100%; height: auto"'
        f' src="data:image/png;base64,{data}">'
        f'<figcaption style="text-align: left">{caption}</figcaption></figure>'
    )


def say(*sentences: str) -> None:
    """Display sentences in Markdown as a list."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))


def say_in_full(text: str) -> None:
    """Display Markdown of several paragraphs."""
    display(Markdown(text))


def table(header: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> None:
    """Display a table, its first columns, ``words`` of them, to the left, the others, numbers, to the right."""
    lines = [header, [":--"] * words + ["--:"] * (len(header) - words), *rows]
    display(Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)))


def selection(what: str, text: object, allowed: Sequence[object]) -> tuple:
    """Those of ``allowed`` that ``text`` lists, as in "0, 5, 18"; none for an empty text.

    Raises UserError, naming ``what`` and the allowed ones, for any other.
    """
    by_name = {str(value): value for value in allowed}
    names = dict.fromkeys(re.findall(r"[^\s,;()\[\]'\"]+", str(text)))  # papermill's -p turns "5" into a number
    for name in names:
        choice(what, name, by_name)
    return tuple(by_name[name] for name in names)


def whole_numbers(what: str, text: object) -> tuple[int, ...]:
    """The whole numbers that ``text`` lists, as in "1, 2"; UserError naming ``what`` for anything else."""
    words = re.findall(r"[^\s,;()\[\]'\"]+", str(text))
    for word in words:
        if not word.isdecimal():
            raise UserError(f"{what} {word!r} is not allowed: give whole numbers of at least 0, as in 1, 2")
    return tuple(map(int, words))


def ends(study: Study) -> tuple[str, str]:
    """What a study's paths begin and end at, as figures say it: "CNN", "eFCN(3), seed 1"."""
    return _end(study.path_start), _end(study.path_end)


def _end(text: str) -> str:
    words = {"cnn": "CNN", "fcn": "FCN", "efcn": "eFCN"}
    kind, _, rest = text.strip().partition(" ")
    tw, _, seed = rest.partition("seed ")
    return words[kind] + (f"({tw.strip()})" if tw.strip() else "") + (f", seed {seed}" if seed else "")


def strict() -> None:
    """UserError if papermill was given a parameter that this notebook does not have: it would only warn.

    papermill puts what it was given into a cell of its own, the second to run, behind the notebook's parameters.
    """
    ran = get_ipython().user_ns["In"] if get_ipython() else []
    if len(ran) > 2 and ran[2].startswith("# Parameters"):
        known = _assigned(ran[1])
        for name in _assigned(ran[2]):
            choice("parameter of this notebook", name, known)


def _assigned(source: str) -> list[str]:
    """Names that a parameters cell assigns to."""
    return [target.id for line in ast.parse(source).body for target in getattr(line, "targets", ())]


def layers(study: Study) -> list[networks.Step]:
    """The layers of the study's CNN, traced; weights uninitialised."""
    return networks.trace(untrained(study.cnn(study.seeds[0])), study.data.shape)


def made(results: sweep.Results, *seeds: int) -> str:
    """The end of every caption, as HTML: what was run, for how long, on what; ``results`` are of the first seed."""
    study, device = results.study, results.cnn(seeds[0]).info["device"]
    listed = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    return (
        f"<br><small>Study <b>{study.name}</b>: {html.escape(study.title)}; {listed}; CNN and standard FCN trained"
        f" for {study.epochs} epochs, eFCN and control for {study.relax_epochs} after the embedding;"
        f" {study.network.words}, {study.data.train_images:,} training and {study.data.test_images:,} test"
        " images;"
        f" on {device}.</small>"
    )
