"""What the notebooks share: numbered figures to link to and to save, sentences, tables, text parameters."""

import ast
import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from torch import Tensor

from efcnbook.figures import figure_export
from efcnbook.figures.figure_export import DataFigure, Source
from efcnbook.statistics import provenance
from efcnlab.config.studies import Study
from efcnlab.environment import REPOSITORY, recorded_studies
from efcnlab.run import study_runner
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.run_store import Record, Store
from efcnlib import networks
from efcnlib.errors import UserError, choice
from efcnlib.metrics import random_start_delta

TW = "<i>t</i><sub>w</sub>"  # for captions, which are HTML
ALWAYS = ("study", "studies", "seed")  # parameters that a command line names even if they are the defaults


@dataclass(frozen=True)
class Page:
    """A notebook that is running: ``command`` runs it again with the parameters that it has been given."""

    name: str
    command: str

    def show(self, number: str, figure: DataFigure, caption: str, alt: str, source: Source) -> None:
        """Display "Figure ``number``", which [](#figure-NUMBER) links to, and below it links that save it.

        ``caption`` is HTML, ``alt`` says in plain text what can be seen. All needs no other file: a page that is opened
        without a network shows and saves it too.
        """
        anchor = _anchor(number)
        study = source.facts.get("study")
        stem = f"{study['name']}-{anchor}" if study else anchor
        facts = {"figure": number, "page": self.name, "command": self.command, **source.facts}
        links = [
            f'<a download="{stem}{ending}" aria-label="Figure {number} as {name}"'
            f' href="data:{kind};base64,{base64.b64encode(content).decode()}">{name}</a>'
            for name, (ending, kind, content) in figure_export.files(figure, facts).items()
        ]
        below = (
            f'<div class="figure-files"><small>Save Figure {number}: {links[0]}, {links[1]};'
            f" its numbers: {links[2]}, {links[3]}</small></div>"
        )
        words = f"<b>Figure {number}.</b> {caption}{source.words}{below}"
        display({"text/html": framed(figure, words, alt, anchor=anchor), "text/plain": alt}, raw=True)

    def without(self, number: str, reason: str) -> None:
        """Say in place of a figure why there is none, where links to it lead."""
        text = (
            f'<figure id="{_anchor(number)}" style="margin: 1em 0"><figcaption style="text-align: left">'
            f"<b>Figure {number}.</b> {html.escape(reason)}</figcaption></figure>"
        )
        display({"text/html": text, "text/plain": reason}, raw=True)

    def say_command(self) -> None:
        """Display the command that runs this page again, in a block to be copied from."""
        display(Markdown(f"```bash\n{self.command}\n```"))


def _anchor(number: str) -> str:
    return "figure-" + re.sub(r"\W+", "-", number)


def framed(figure: Figure, caption: str, alt: str, colours: int = 256, anchor: str = "") -> str:
    """The HTML of a figure that needs no other file, in ``colours`` of its own; ``anchor`` is what links lead to."""
    data = base64.b64encode(figure_export.png(figure, colours)).decode()
    width = round(figure.get_figwidth() * figure.dpi)
    named = f' id="{anchor}"' if anchor else ""
    return (
        f'<figure{named} style="margin: 1em 0; max-width: {width}px">'
        f'<img alt="{html.escape(alt)}" width="{width}" style="max-width: 100%; height: auto"'
        f' src="data:image/png;base64,{data}">'
        f'<figcaption style="text-align: left">{caption}</figcaption></figure>'
    )


def page(name: str) -> Page:
    """The running notebook NAME.ipynb; UserError if papermill was given a parameter that it does not have."""
    strict()
    defaults = _parameters(REPOSITORY / "notebooks" / f"{name}.ipynb")
    space = get_ipython().user_ns if get_ipython() else {}
    return Page(name, command(name, {key: space.get(key, value) for key, value in defaults.items()}, defaults))


def command(name: str, given: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """The line that runs a notebook with the parameters ``given``: those named in `ALWAYS`, and what is no default."""
    named = {key: value for key, value in given.items() if key in ALWAYS or value != defaults[key]}
    options = "".join(f" -p {key} {shlex.quote(str(value))}" for key, value in named.items())
    return f".venv/bin/papermill notebooks/{name}.ipynb out.ipynb{options}"


def _parameters(path: Path) -> dict[str, object]:
    """The parameters of a notebook in our repository, with their defaults."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(text).body}


def say(*sentences: str) -> None:
    """Display sentences in Markdown as a list; nothing where there are none."""
    if sentences:
        display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))


def say_in_full(text: str) -> None:
    """Display Markdown of several paragraphs."""
    display(Markdown(text))


def show_html(text: str, alt: str) -> None:
    """Display HTML; ``alt`` says in plain text what can be seen."""
    display({"text/html": text, "text/plain": alt}, raw=True)


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
    words = {"cnn": "CNN", "fcn": "FCN", "efcn": "eFCN", "elcn": "eLCN"}
    words |= {"control": "control", "tuned": "tuned control", "lowered": "control at a lowered rate"}
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


def picture(record: Record, name: str) -> Tensor:
    """A record's array; UserError if it is a recorded run whose large pictures were left out."""
    if name not in record.arrays:
        where = f"{record.config['kind']} tw={record.config['tw']} seed={record.config['seed']}"
        raise UserError(
            f"the picture {name!r} of {where} is not recorded: of large ones those of a study's first seed are, and of"
            " blocks that of its last relax time; import the study, remove that run's folder and compute it again"
        )
    return record.arrays[name]


def results(
    study: str, seed: int, more_seeds: object, root: str, /, **changes: object
) -> list[study_runner.StudyResults]:
    """What a study's page reads, of ``seed`` and then each of ``more_seeds``; which of them are incomplete is said."""
    asked = (seed, *whole_numbers("more_seeds", more_seeds))
    every = [study_runner.load_results(study, each, root or None, **changes) for each in asked]
    say(*(one.coverage.summary for one in every if one.missing))
    return every


def found(study: str, root: str, /, **changes: object) -> Study:
    """The study, with the learning rates that its recorded runs have chosen."""
    return found_study(study, Store(root or None, recorded_studies()), **changes)


def layers(study: Study) -> list[networks.TracedLayer]:
    """The layers of the study's CNN, traced; weights uninitialised."""
    return networks.trace(study.cnn(study.seeds[0]).uninitialised_cnn(), study.data.shape)


def random_start(study: Study) -> str:
    """δ of a study's standard FCN as it is expected at its random start, in per cent."""
    delta = random_start_delta([layer.geometry for layer in layers(study) if layer.geometry is not None])
    return f"{100 * delta:.1f} %"


def source(results: study_runner.StudyResults, *seeds: int) -> Source:
    """What was run, for how long, where, when and by which commits; ``results`` are of the first of ``seeds``."""
    study, found = results.full_study, provenance.of(results.full_study, seeds, results.store.get)
    listed = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    these = f"{'recorded ' if study.long else ''}runs of {'these seeds' if len(seeds) > 1 else 'this seed'}"
    words = (
        f"<br><small>Study <b>{study.name}</b>: {html.escape(study.title)}; {listed}; {_trained(results.study)},"
        f" eFCN and control for {study.relax_epochs} after the embedding;"
        f" {study.network.description}, {study.data.train_images:,} training and {study.data.test_images:,} test images"
        f"{study.options_description and ', '}{study.options_description}; all {these}"
        f" {provenance.line(found)}.</small>"
    )
    facts = {
        "study": study.model_copy(update={"seeds": seeds}).model_dump(mode="json"),
        "seeds": list(seeds),
        "computed": [asdict(one) for one in found],
    }
    return Source(words, facts)


def _trained(study: Study) -> str:
    """For how long the CNN was trained, and the standard FCN, where there is one."""
    cnn, fcn = study.epochs, study.fcn_epochs or study.epochs
    if not study.standard_fcn:
        return f"CNN trained for {cnn} epochs"
    if cnn == fcn:
        return f"CNN and standard FCN trained for {cnn} epochs"
    return f"CNN trained for {cnn} epochs, standard FCN for {fcn}"
