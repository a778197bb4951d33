"""The explorer alive in JupyterLab: the page's numbers, and a panel to train at a relax time that nobody trained."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files

import anywidget
import traitlets
from ipywidgets import HTML, BoundedIntText, Button, FloatProgress, HBox, Layout, VBox

from efcnbook.explorer import numbers, page
from efcnbook.explorer.relax_times import with_times
from efcnbook.explorer.training import LiveTraining, Stand
from efcnbook.statistics.wording import escaped
from efcnlab.environment import default_root
from efcnlab.run import study_runner
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError, choice

PACE = 0.1  # seconds between two messages to the browser at the least

_shown: dict[tuple, "LiveExplorer"] = {}  # of this process, so that a cell run again shows what is already at work


def explorer(packs: Sequence[dict], name: str, seed: int = 0, root: str | None = None, device: str = "cpu") -> VBox:
    """The explorer of ``packs``, see `numbers.load`, in which the study ``name`` can be trained further.

    What is trained, when somebody asks for it, is ``seed``'s eFCN and its control, in the run store ``root``, on
    ``device``. Called again with the same study, it gives the same widget: its training goes on meanwhile. UserError
    for a study that is not shown, a seed that is not recorded, and a device that is not there.
    """
    store = Store(root or default_root(), readable_studies())
    whole = found_study(name, store)
    names = [pack["study"]["name"] for pack in packs]
    if whole.name not in names:
        raise UserError(f"live study {whole.name} is not among those shown: choose one of {', '.join(names)}")
    key = (whole.model_dump_json(), seed, str(store.root.absolute()), device)
    if key not in _shown or _shown[key].comm is None:
        training = _shown[key].training if key in _shown else LiveTraining(whole, seed, store, device=device)
        _shown[key] = LiveExplorer(training, packs)
    else:
        _shown[key].show(packs)
    return _shown[key]


class Page(anywidget.AnyWidget):
    """The static page's own JavaScript, with packs that grow.

    ``growing`` is the relax time being trained: "study", "seed", "tw", and "runs", rounded histories by kind.
    ``selection`` is what is looked at: "study", "seed", "tw", "epoch".
    """

    _esm = page.script() + files(__package__).joinpath("live.js").read_text("utf-8")
    _css = page.style() + files(__package__).joinpath("live.css").read_text("utf-8")
    packs = traitlets.List().tag(sync=True)
    growing = traitlets.Dict().tag(sync=True)
    selection = traitlets.Dict().tag(sync=True)


class LiveExplorer(VBox):
    """The panel, and the page below it."""

    def __init__(self, training: LiveTraining, packs: Sequence[dict]):
        self.training, self.others = training, list(packs)
        study = training.study
        self.page = Page(packs=self._packs(), selection={"study": study.name, "seed": training.seed})
        self.tw = BoundedIntText(
            min=0,
            max=study.epochs,
            value=_first(training),
            description=f"Train {study.name}, seed {training.seed}, at tw =",
            tooltip=f"An epoch of the CNN, 0 to {study.epochs}",
            style={"description_width": "initial"},
            layout=Layout(width="max-content"),
        )
        self.start = Button(description="Train", button_style="primary")
        self.halt = Button(description="Stop")
        self.bar = FloatProgress(min=0, max=1, layout=Layout(width="220px"))
        self.line = HTML()
        self.start.on_click(lambda _: self._try(lambda: training.start(self.tw.value)))
        self.halt.on_click(lambda _: training.stop())
        self.tw.observe(lambda _: self._look(), "value")
        row = Layout(flex_flow="row wrap", align_items="center")
        super().__init__([HBox([self.tw, self.start, self.halt, self.bar], layout=row), self.line, self.page])
        self.add_class("efcn-panel")
        training.tell = Relay(self._told)
        self._look()

    def show(self, packs: Sequence[dict]) -> None:
        """Show other packs, and what is in the store by now."""
        self.others = list(packs)
        self.page.packs = self._packs()
        self._look()

    def _packs(self) -> list[dict]:
        """The packs, that of the study with what was trained here."""
        mine = packed(self.training)
        return [mine if pack["study"]["name"] == self.training.study.name else pack for pack in self.others]

    def _look(self) -> None:
        """Say how it stands with the chosen relax time."""
        stand = self.training.look(self.tw.value)
        self._paint(stand)
        if stand.phase == "done":
            self._select(stand.tw)

    def _told(self, stand: Stand) -> None:
        """Show what the training tells."""
        if stand.phase == "done":
            self._try(lambda: setattr(self.page, "packs", self._packs()))
            if self.page.growing.get("tw") != stand.tw:
                self._select(stand.tw)
            self.page.growing = {}
        elif runs := {kind: numbers.rounded(history) for kind, history in stand.histories.items()}:
            is_new = self.page.growing.get("tw") != stand.tw
            about = {"study": self.training.study.name, "seed": self.training.seed, "tw": stand.tw}
            if self.page.growing.get("runs") != runs or is_new:
                self.page.growing = about | {"runs": runs}
            if is_new:
                self._select(stand.tw)
        if self.tw.value != stand.tw:
            self.tw.value = stand.tw
        self._paint(stand)

    def _select(self, tw: int) -> None:
        """Let the page show the end of a relax time."""
        self.page.selection = {"study": self.training.study.name, "seed": self.training.seed, "tw": tw, "epoch": None}

    def _paint(self, stand: Stand) -> None:
        self.tw.disabled = stand.active
        self.start.disabled = stand.active or stand.phase == "done"
        self.start.description = "Resume" if 0 < stand.part < 1 and not stand.active else "Train"
        self.halt.disabled = stand.phase != "training"
        self.bar.value = stand.part
        self.bar.bar_style = {"done": "success", "failed": "danger", "interrupted": "warning"}.get(stand.phase, "")
        self._say(stand.line)

    def _say(self, line: str) -> None:
        self.line.value = f'<span class="efcn-stand" role="status">{escaped(line)}</span>'

    def _try(self, action: Callable[[], None]) -> None:
        """Do it, or say why it cannot be done."""
        try:
            action()
        except UserError as error:
            self._say(str(error))


class Relay:
    """Hands what is told in one thread to ``receive`` in the kernel's own, the latest of it and not too often.

    Widgets must not be changed by two threads at once. Where no kernel's loop is running, it is handed on at once.
    """

    def __init__(self, receive: Callable[[Stand], None]):
        self.receive, self.latest, self.guard = receive, None, threading.Lock()
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None

    def __call__(self, stand: Stand) -> None:
        if self.loop is None:
            self.receive(stand)
            return
        with self.guard:
            is_due, self.latest = self.latest is None, stand
        if is_due:
            self.loop.call_soon_threadsafe(self.loop.call_later, PACE, self._deliver)

    def _deliver(self) -> None:
        with self.guard:
            stand, self.latest = self.latest, None
        self.receive(stand)


def packed(training: LiveTraining) -> dict:
    """The pack of a study with all that was trained of the live seed beside the study's own relax times."""
    results = study_runner.StudyResults(training.study, training.times.store)
    seeds = {seed: numbers.gather(one, seed) for seed, one in numbers.recorded(results).items()}
    choice(f"recorded seed of study {training.study.name}", training.seed, seeds)
    mine = seeds[training.seed]
    relaxed, arrays = {kind: dict(times) for kind, times in mine.relaxed.items()}, dict(mine.arrays)
    others = training.times.trained()
    for tw in others:
        records = {kind: training.times.store.get(key_of(run)) for kind, run in training.times.runs(tw).items()}
        for kind, record in records.items():
            relaxed[kind][tw] = record.history
        arrays[tw] = records["efcn"].arrays
    arrays = dict(sorted(arrays.items()))  # the page finds them by their order
    seeds[training.seed] = replace(mine, relaxed=relaxed, arrays=arrays)
    return numbers.pack(with_times(training.study, others), seeds)


def _first(training: LiveTraining) -> int:
    """The relax time at work, or one left off, or the first epoch that is none yet, if there is one with weights."""
    if training.current is not None:
        return training.current.tw
    if begun := training.times.begun():
        return begun[0]
    known = {*training.study.relax_times, *training.times.trained()}
    wanted = (*training.times.starts(), *range(training.study.epochs + 1))
    return next((tw for tw in wanted if tw not in known), 0)
