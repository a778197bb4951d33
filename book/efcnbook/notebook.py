"""What the notebooks share: a page with its study's results, figures to link to and to save, sentences, tables."""

import base64
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from torch import Tensor

from efcnbook import notebook_parameters
from efcnbook.claims import claim_list, summary
from efcnbook.claims.grid import short_names
from efcnbook.figures import figure_export
from efcnbook.figures.first_images import first_images
from efcnbook.notebook_parameters import selection
from efcnbook.statistics import evidence, provenance, tables, wording
from efcnbook.statistics.wording import escaped
from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.config.study_subsets import KINDS
from efcnlab.environment import default_root
from efcnlab.run import study_runner
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Record, Store
from efcnlib import networks
from efcnlib.errors import UserError
from efcnlib.metrics import random_start_delta

TW = "<i>t</i><sub>w</sub>"  # for captions, which are HTML


@dataclass(frozen=True)
class Source:
    """Where numbers come from: ``words``, HTML for a page's details, and ``facts`` for its figures' JSON."""

    words: str
    facts: dict[str, object]


@dataclass(frozen=True)
class Page:
    """A notebook that is running: ``command`` runs it again with the parameters that it has been given.

    ``results`` are those of the study it shows, one for each seed; none on a page that belongs to no study. ``kinds``
    are those of the runs that it draws, of `study_subsets.KINDS`.
    """

    name: str
    command: str
    results: tuple[study_runner.StudyResults, ...] = ()
    store: Store | None = None
    kinds: Collection[str] = KINDS

    @property
    def study(self) -> Study:
        """The study as far as it is there for the first seed."""
        return self.results[0].study

    @cached_property
    def runs(self) -> pd.DataFrame:
        """All trainings that it draws, a row a measurement (`tables.tidy`)."""
        return tables.trainings(self.results, self.kinds)

    @property
    def seeds(self) -> list[int]:
        """The seeds shown."""
        return [one.seed for one in self.results]

    @cached_property
    def source(self) -> Source:
        """What was run, for how long, where, when and by which commits."""
        return source(self.results[0], *self.seeds)

    def answer(self, *claims: int | str) -> None:
        """Display what the verdicts on ``claims`` mean in this study, one sentence each, and what diverged."""
        study = self.results[0].full_study.model_copy(update={"seeds": tuple(self.seeds)})
        judge = claim_list.findings if {1, 3} & set(claims) else claim_list.from_records
        there = evidence.gather(study, self.store)
        found = judge(there)
        lines = [said for claim in claims if (said := summary.answer(found, claim))]
        lines = lines or ["None of this can be tested in this study yet."]
        display(Markdown("\n\n".join([*lines, *wording.diverged(there.runs)])))

    def show(
        self, number: str, figure: Figure, table: pd.DataFrame, caption: str, alt: str, source: Source | None = None
    ) -> None:
        """Display "Figure ``number``", which [](#figure-NUMBER) links to, and below it links that save it.

        ``table`` holds the numbers that are drawn, ``caption`` is HTML, ``alt`` says in plain text what can be seen,
        ``source`` is the page's own where it is None. All needs no other file: a page that is opened without a network
        shows and saves it too.
        """
        anchor, facts = _anchor(number), (source or self.source).facts
        study = facts.get("study")
        stem = f"{study['name']}-{anchor}" if study else anchor
        facts = {"figure": number, "page": self.name, "command": self.command, **facts}
        links = [
            f'<a download="{stem}{ending}" aria-label="Figure {number} as {name}"'
            f' href="data:{kind};base64,{base64.b64encode(content).decode()}">{name}</a>'
            for name, (ending, kind, content) in figure_export.files(figure, table, facts).items()
        ]
        words = f'<b>Figure {number}.</b> {caption}<div class="figure-files">Save: {", ".join(links)}</div>'
        display({"text/html": framed(figure, words, alt, anchor=anchor), "text/plain": alt}, raw=True)

    def without(self, number: str, reason: str) -> None:
        """Say in place of a figure why there is none, where links to it lead."""
        text = (
            f'<figure id="{_anchor(number)}" style="margin: 1em 0"><figcaption style="text-align: left">'
            f"<b>Figure {number}.</b> {escaped(reason)}</figcaption></figure>"
        )
        display({"text/html": text, "text/plain": reason}, raw=True)

    def others(self, names: str, draw: Callable[["Page"], Figure | None], root: str = "") -> None:
        """Display the figure that ``draw`` makes of a page, small, for each of the other studies ``names``.

        ``names`` are separated by commas; what is recorded of them is drawn, and nothing computed. A study of which
        there is nothing to draw, None, is left out.
        """
        store, small = Store(root or default_root(), readable_studies()), []
        studies = [found_study(name.strip(), store) for name in names.split(",") if name.strip()]
        readable = short_names(studies)
        for study in studies:
            figure = draw(Page(self.name, "", tuple(evidence.shown_results(study, store)), store, self.kinds))
            if figure is None:
                continue
            link = f'<a href="{study.name}/{self.name}.html">{escaped(readable[study])}</a>'
            small.append(framed(figure, link, f"The same figure for {study.title}.", colours=64))
        if small:
            show_html(f'<div class="other-studies">{"".join(small)}</div>', "the same figure for other studies")

    def images(self) -> None:
        """Display the first images of a custom data set with their classes; nothing of a known set, or without it."""
        if sheet := first_images(self.study.data):
            show_html(*sheet)

    def details(self, *sources: Source) -> None:
        """Display, folded, what was run and the command that runs this page again, in a block to be copied from."""
        words = " ".join(one.words for one in sources or ([self.source] if self.results else []))
        display(
            Markdown(
                '<details class="made"><summary>Details: how this page was made</summary>\n\n'
                f"{words}\n\nIn the clone's folder, where `make book` or `make lab` has made `.venv`:\n\n"
                f"```bash\n{self.command}\n```\n\n</details>"
            )
        )


def _anchor(number: str) -> str:
    return "figure-" + re.sub(r"\W+", "-", number)


def framed(figure: Figure, caption: str, alt: str, colours: int = 256, anchor: str = "") -> str:
    """The HTML of a figure that needs no other file, in ``colours`` of its own; ``anchor`` is what links lead to.

    The figure is closed: a notebook would show what is left open once more.
    """
    data = base64.b64encode(figure_export.png(figure, colours)).decode()
    plt.close(figure)
    width = round(figure.get_figwidth() * figure.dpi)
    named = f' id="{anchor}"' if anchor else ""
    return (
        f'<figure{named} style="margin: 1em 0; max-width: {width}px">'
        f'<div class="picture"><img alt="{escaped(alt)}" width="{width}" style="max-width: 100%; height: auto"'
        f' src="data:image/png;base64,{data}"></div>'
        f'<figcaption style="text-align: left">{caption}</figcaption></figure>'
    )


def page(name: str) -> Page:
    """The running notebook NAME.ipynb, which belongs to no study; UserError for a parameter that it does not have."""
    return Page(name, notebook_parameters.given(name))


def load(
    name: str,
    study: str,
    seed: int,
    more_seeds: object = "",
    root: str = "",
    /,
    kinds: Collection[str] = KINDS,
    times: Collection[int] | None = None,
    **changes: object,
) -> Page:
    """The running notebook NAME.ipynb with what it shows of a study, of ``seed`` and then each of ``more_seeds``.

    Of a small study, runs of these ``kinds`` and from these relax ``times`` are computed where they are missing, and
    what they need; of a long one, which are missing is said. ``changes`` are settings of the study. UserError, before
    anything is computed.
    """
    command = notebook_parameters.given(name)
    whole = studies.load(study, **changes)
    asked = selection(f"seed of study {whole.name}", f"{seed} {more_seeds}", whole.seeds)
    chosen = {"kinds": kinds, "times": times, **changes}
    every = tuple(study_runner.load_results(study, each, root or None, **chosen) for each in asked)
    say(*(one.coverage.summary for one in every if one.missing))
    return Page(name, command, every, Store(root or default_root(), readable_studies()), kinds)


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


def ends(study: Study) -> tuple[str, str]:
    """What a study's paths begin and end at, as figures say it: "CNN", "eFCN(3), seed 1"."""
    return _end(study.path_start), _end(study.path_end)


def _end(text: str) -> str:
    words = {"cnn": "CNN", "fcn": "FCN", "efcn": "eFCN", "elcn": "eLCN"}
    words |= {"control": "control", "tuned": "tuned control", "lowered": "control at a lowered rate"}
    kind, _, rest = text.strip().partition(" ")
    tw, _, seed = rest.partition("seed ")
    return words[kind] + (f"({tw.strip()})" if tw.strip() else "") + (f", seed {seed}" if seed else "")


def picture(record: Record, name: str) -> Tensor:
    """A record's array; UserError if it is a recorded run whose large pictures were left out."""
    if name not in record.arrays:
        where = f"{record.config['kind']} tw={record.config['tw']} seed={record.config['seed']}"
        raise UserError(
            f"the picture {name!r} of {where} is not recorded: of large ones those of a study's first seed are, and of"
            " blocks that of its last relax time; import the study, remove that run's folder and compute it again"
        )
    return record.arrays[name]


def found(study: str, root: str, /, **changes: object) -> Study:
    """The study, with the learning rates that its recorded runs have chosen."""
    return found_study(study, Store(root or None, readable_studies()), **changes)


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
        f"Study <b>{study.name}</b>: {escaped(study.title)}; {listed}; {_trained(results.study)},"
        f" eFCN and control for {study.relax_epochs} after the embedding;"
        f" {study.network.description}, {study.data.train_images:,} training and {study.data.test_images:,} test images"
        f"{study.options_description and ', '}{study.options_description}; all {these}"
        f" {provenance.line(found)}."
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
