"""The live panel without a browser: buttons pressed in Python, what the page is sent, and threads kept apart."""

import asyncio
import html
import threading

import pytest
from ipywidgets import Widget

from efcnbook.explorer import live, numbers
from efcnbook.explorer.live import LiveExplorer, Relay
from efcnbook.explorer.relax_times import StoredRelaxTimes, with_times
from efcnbook.explorer.training import LiveTraining
from efcnlab.run import study_runner
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from live_study import TW, study
from shared_runs import copied


@pytest.fixture(autouse=True)
def closed():
    """No widget and no training outlives its test."""
    yield
    live._shown.clear()
    Widget.close_all()


@pytest.fixture
def store(shared, tmp_path) -> Store:
    """A store with the study, whose relax times are 0, 2 and 4."""
    return Store(copied(study(), shared, tmp_path / "runs").root, checkpoint_interval=1000)


@pytest.fixture
def panel(store) -> LiveExplorer:
    """A panel whose messages come in the training's own thread, there being no kernel."""
    training = LiveTraining(study(), 0, store)
    return LiveExplorer(training, [live.packed(training)])


def sent(panel: LiveExplorer, name: str) -> list:
    """What the page is sent under a name from now on."""
    values = []
    panel.page.observe(lambda change: values.append(change.new), name)
    return values


def test_the_panel_begins_at_a_time_nobody_trained(panel):
    assert panel.tw.value == 1
    assert (panel.tw.min, panel.tw.max) == (0, 4)
    assert "tw = 1 was never trained." in html.unescape(panel.line.value)
    assert not panel.start.disabled
    assert panel.halt.disabled
    assert panel.page.selection == {"study": "digits", "seed": 0}
    panel.tw.value = 2
    assert panel.start.disabled
    assert "tw = 2 is trained" in html.unescape(panel.line.value)
    assert panel.page.selection["tw"] == 2
    panel.tw.value = 99
    assert panel.tw.value == 4


def test_a_training_grows_into_the_page_and_becomes_one_of_its_times(panel, store):
    growing, packs = sent(panel, "growing"), sent(panel, "packs")
    panel.tw.value = TW
    panel.start.click()
    assert panel.training.wait(120)
    counts = [len(value["runs"].get("efcn", {}).get("epoch", ())) for value in growing if value]
    assert counts == sorted(counts)
    assert len(set(counts)) >= 4
    assert all((value["study"], value["seed"], value["tw"]) == ("digits", 0, TW) for value in growing if value)
    assert growing[-1] == {}
    (last,) = packs
    whole = study_runner.StudyResults(with_times(study(), [TW]), store)
    assert last == [numbers.pack(whole.study, {0: numbers.gather(whole, 0)})]
    assert growing[-2]["runs"] == {kind: times[str(TW)] for kind, times in last[0]["seeds"][0]["runs"].items()}
    assert panel.page.selection["tw"] == TW
    assert panel.start.disabled
    assert panel.bar.value == 1


def test_stop_and_resume(panel):
    panel.tw.value = TW
    training, told = panel.training, panel.training.tell

    def tell(stand) -> None:
        told(stand)
        if stand.phase == "training" and 0.2 < stand.part < 0.7 and not panel.halt.disabled:
            assert panel.start.disabled
            assert panel.tw.disabled
            panel.halt.click()

    training.tell = tell
    panel.start.click()
    assert training.wait(120)
    assert (panel.start.description, panel.start.disabled, panel.tw.disabled) == ("Resume", False, False)
    assert "it can go on" in panel.line.value
    assert 0 < panel.bar.value < 1
    curve = panel.page.growing["runs"]["efcn"]["epoch"]
    assert curve[0] == 0
    panel.tw.value = 1
    assert panel.start.description == "Train"
    panel.tw.value = TW
    assert panel.start.description == "Resume"
    other = LiveExplorer(LiveTraining(study(), 0, training.times.store), panel.page.packs)  # as in a new kernel
    assert other.tw.value == TW
    assert other.start.description == "Resume"
    assert other.bar.value == pytest.approx(panel.bar.value, abs=1e-6)
    training.tell = told
    panel.start.click()
    assert training.wait(120)
    assert "is trained" in panel.line.value


def test_errors_are_lines_of_text(panel, store, tmp_path):
    (tmp_path / "<b>").write_text("no folder")
    elsewhere = Store(tmp_path / "<b>" / "runs", [store.root])
    panel.training.times = StoredRelaxTimes(study(), 0, elsewhere)
    panel.tw.value = TW
    panel.start.click()
    assert panel.training.wait(120)
    assert "<b>" in html.unescape(panel.line.value)
    assert "<b>" not in panel.line.value
    assert panel.bar.bar_style == "danger"
    assert not panel.start.disabled


def test_a_cell_run_again_gives_the_same_panel(tmp_path, store):
    folder = str(store.root)
    path = tmp_path / "small.json"
    path.write_text(study().model_dump_json())
    packs = [numbers.load(str(path), folder)]
    first = live.explorer(packs, str(path), 0, folder)
    first.tw.value = TW
    first.start.click()
    assert first.training.wait(120)
    again = live.explorer(packs, str(path), 0, folder)
    assert again is first
    assert again.page.packs[0]["study"]["relax_times"] == [0, 2, TW, 4]
    for widget in (first, *first.children):
        widget.close()
    other = live.explorer(packs, str(path), 0, folder)
    assert other is not first
    assert other.training is first.training


def test_the_live_study_must_be_shown(store, tmp_path):
    packs = [live.packed(LiveTraining(study(), 0, store))]
    with pytest.raises(UserError, match="live study quick is not among those shown: choose one of digits"):
        live.explorer(packs, "quick", 0, str(store.root))


def test_pictures_of_what_was_trained_here_are_those_of_its_record(panel, store):
    panel.tw.value = TW
    panel.start.click()
    assert panel.training.wait(120)
    (pack,) = panel.page.packs
    times = pack["seeds"][0]["pictures"]["times"]
    assert list(times) == ["0", "2", str(TW), "4"]
    efcn = store.get(key_of(panel.training.times.runs(TW)["efcn"]))
    assert times[str(TW)] == efcn.history["epoch"]


def test_a_relay_hands_on_in_its_own_thread_the_latest_and_all_in_the_end():
    async def run() -> list:
        received = []
        relay = Relay(lambda stand: received.append((stand, threading.current_thread())))

        def tell() -> None:
            for number in range(10_000):
                relay(number)

        thread = threading.Thread(target=tell)
        thread.start()
        while not received or received[-1][0] != 9_999:
            await asyncio.sleep(0.01)
        thread.join()
        return received

    received = asyncio.run(run())
    numbers_seen = [number for number, _ in received]
    assert numbers_seen == sorted(set(numbers_seen))
    assert len(numbers_seen) < 1000
    assert {thread for _, thread in received} == {threading.main_thread()}
