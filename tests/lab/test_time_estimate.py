"""How long a study takes: measured before a long one begins, known from runs that are done; whether to go on."""

import io
import re
import sys
import time
import warnings

import pytest

from command_line import efcn
from efcnlab.config import studies, study_rates
from efcnlab.config.studies import load, runs
from efcnlab.environment import REPOSITORY, describe_environment, machine_name
from efcnlab.run import compute_estimate, schedule, status, study_runner, time_estimate
from efcnlab.run.progress import ProgressBar
from efcnlab.store import recorded_study
from efcnlab.store.run_lock import Progress
from efcnlab.store.run_store import RunState, Store
from efcnlib.errors import UserError
from efcnlib.training.engine import Engine
from shared_runs import copied
from small_studies import tiny

HERE = machine_name(describe_environment())
FEW = {"relax_times": (2,), "path_times": (), "long": True}
UNCHOSEN = {"rates": {"rates": (0.1, 0.05), "steps": 2}, "controls": ("control", "tuned"), "fcn_control": True}


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def done(shared, tmp_path_factory):
    """A finished study's store."""
    return copied(tiny(), shared, tmp_path_factory.mktemp("runs"))


def test_the_estimate_of_a_small_long_study_is_about_what_it_took(tmp_path):
    study = load(
        "digits",
        network={"channels": 24},
        relax_times=(0, 20),
        path_times=(20,),
        path_methods=("linear", "string"),
        controls=("control", "elcn"),
        curvature=None,
        plane=None,
        rates={"rates": (0.1, 0.05)},
        long=True,
    )
    for attempt in range(3):  # a machine that others use is not always as fast
        store = Store(tmp_path / str(attempt))
        with study_runner.using_threads(1):
            todo = schedule.expected_missing_runs(study, store)
            estimate = sum(map(time_estimate.measure_speed(todo).seconds, todo))
        found = study_runner.run_study(study, store, threads=1, progress=False, yes=True).study
        took = sum(state.seconds for state in study_runner.run_states(found, store).values())
        if took / 2 < estimate < took * 2:
            return
    pytest.fail(f"{estimate} s for {took} s")


def test_nobody_to_ask_is_one_line_with_hours_and_what_to_add(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(
        '{"like": "digits", "long": true, "epochs": 100000, "relax_epochs": 50000, "controls": ["control", "elcn"]}'
    )
    told = efcn("run", file, "--root", tmp_path / "runs", "--threads", 1)
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert re.fullmatch(
        r"efcn: mine: \d+ runs, about [\d.]+ h on this machine \(measured: CNN [\d.]+ s, eFCN [\d.]+ s with delay \d,"
        r" eLCN [\d.]+ s an epoch\): add --yes to compute them",
        line,
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("answer", ["n", "", "no", "why?"])
def test_every_answer_but_yes_computes_nothing(answer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    with pytest.raises(UserError, match=re.escape(f"nothing is computed: the answer was {answer!r}, and y goes on")):
        study_runner.run_study(tiny(**FEW), Store(tmp_path / "runs"), threads=1)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("digits: 4 runs, about ")
    assert said[1] == "go on? [y/N] "
    assert not (tmp_path / "runs").exists()


def test_yes_at_the_terminal_goes_on_and_is_not_asked_for_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    study, store = tiny(**FEW), Store(tmp_path)
    study_runner.run_study(study, store, threads=1, progress=False)
    assert "go on? [y/N] " in capsys.readouterr().err
    study_runner.run_study(study, store, threads=1, progress=False)
    assert capsys.readouterr().err == ""


def test_with_yes_it_is_said_once_and_not_asked(tmp_path, capsys):
    study_runner.run_study(tiny(**FEW, **UNCHOSEN), Store(tmp_path), threads=1, progress=False, yes=True)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("digits: 8 runs, about ")  # those that follow the choice of the rates too


def test_nothing_is_measured_for_other_studies(tmp_path, monkeypatch):
    monkeypatch.setattr(time_estimate, "measure_speed", lambda *_: pytest.fail("measured"))
    study_runner.run_study(tiny(**FEW | {"long": False}), Store(tmp_path), threads=1, progress=False)


@pytest.mark.parametrize(
    ("changes", "engine", "delay"),
    [
        ({}, None, 8),
        ({}, Engine(delay=1), 1),
        ({}, Engine(delay=2), 2),
        ({}, Engine(update="autograd"), 1),
        ({"optimiser": {"name": "adam", "lr": 0.001}}, None, 1),
        ({"relax_optimiser": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}, None, 1),
    ],
)
def test_the_delay_is_chosen_for_plain_sgd_unless_it_is_given(changes, engine, delay, tmp_path, monkeypatch):
    fast = {1: 1.0, 4: 0.96, 8: 0.94}
    monkeypatch.setattr(time_estimate, "_step", lambda network, run, noise, engine: fast.get(engine.delay, 1.0))
    study = tiny(**FEW, **changes)
    todo = schedule.expected_missing_runs(study, Store(tmp_path))
    assert time_estimate.confirm_long_study(study, todo, "cpu", engine, yes=True).delay == delay
    fast[8] = 0.96  # no longer clearly faster
    assert time_estimate.confirm_long_study(study, todo, "cpu", engine, yes=True).delay == (delay if delay < 8 else 1)


def test_time_left_is_at_the_pace_of_what_is_done(done):
    states = study_runner.run_states(tiny(), done)
    assert time_estimate.seconds_left(states, time_estimate.recorded_speed(states)) == 0
    more = study_runner.run_states(tiny(seeds=(0, 1)), done)
    taken = sum(state.seconds for state in states.values())  # the second seed is as much work as the first
    assert time_estimate.seconds_left(more, time_estimate.recorded_speed(more)) == pytest.approx(taken, rel=0.01)
    nothing = study_runner.run_states(tiny(seeds=(1,)), done)
    assert time_estimate.recorded_speed(nothing) is None
    assert time_estimate.seconds_left(nothing, None) is None


def states_of(study, **seconds):
    """Each run waiting, but for one of each kind that is done in so many seconds, on this machine."""
    states = {run: RunState(name="waiting") for run in runs(study)}
    for kind, taken in seconds.items():
        run = next(run for run in states if getattr(run, "kind", "") == kind or getattr(run, "method", "") == kind)
        states[run] = RunState(name="done", part=1, seconds=taken, machine=HERE)
    return states


def test_each_kind_of_run_has_a_pace_of_its_own():
    study = tiny(controls=("control", "elcn"))
    states = states_of(study, cnn=4.0, efcn=30.0, elcn=50.0, string=7.0)
    known = time_estimate.recorded_speed(states)
    efcn_run, control, elcn = (study.relaxed(kind, 4, 0) for kind in ("efcn", "control", "elcn"))
    assert known.seconds(efcn_run) == pytest.approx(30)
    assert known.seconds(elcn) == pytest.approx(50)
    assert known.seconds(control) == pytest.approx(
        4 * compute_estimate.compute_cost(control) / compute_estimate.compute_cost(study.cnn(0))
    )
    band = study.path("band", 2, 0)  # of which there is none: at the pace of all
    overall = 91 / sum(compute_estimate.compute_cost(run) for run, state in states.items() if state.seconds)
    assert known.seconds(band) == pytest.approx(overall * compute_estimate.compute_cost(band))
    running = Progress(host="here", process=1, since="now", part=0.25, seconds=3)
    states[band] = RunState(name="running", part=0.25, progress=running)
    assert time_estimate.recorded_speed(states).seconds(band) == pytest.approx(12)


def test_runs_of_this_machine_decide_where_there_are_any():
    study = tiny()
    states = states_of(study, cnn=4.0, efcn=30.0)
    run = next(run for run in states if run.kind == "efcn")
    elsewhere = states | {run: states[run].model_copy(update={"machine": "a PDP-11"})}
    assert time_estimate.recorded_speed(elsewhere).kinds.keys() == {"cnn"}
    assert time_estimate.recorded_speed(elsewhere).where == ""
    only = {run: elsewhere[run], study.cnn(0): RunState(name="waiting")}
    assert time_estimate.recorded_speed(only).where == "a PDP-11"


def test_status_counts_what_follows_and_says_hours_for_each_seed(tmp_path):
    study, store = tiny(**FEW, **UNCHOSEN, seeds=(0, 1)), Store(tmp_path)
    first, zero, one, *_ = status.status_lines(study, store, each=True)
    coming = len(studies.runs(study_rates.with_assumed_rates(study))) - len(studies.runs(study))
    assert first.startswith(
        f"digits: 0 of 6 runs done, 6 waiting, {coming} to follow once the learning rates are chosen,"
    )
    assert first.split(", ")[3] == "time left not known yet"
    study_runner.run_study(tiny(**FEW, seeds=(0, 1)), store, seeds=(0,), threads=1, progress=False, yes=True)
    _, zero, one, *_ = status.status_lines(study, store, each=True)
    assert re.fullmatch(r"  seed 0: 2 of 4 runs done, 4 to follow .*, about \d+(\.\d+)? s of work left", zero)
    assert re.fullmatch(r"  seed 1: 0 of 2 runs done, 4 to follow .*, about \d+(\.\d+)? s of work left", one)


def test_another_machines_pace_is_said(done, monkeypatch):
    monkeypatch.setattr(time_estimate, "describe_environment", lambda: {"cpu": "another"})
    assert status.status_lines(tiny(seeds=(0, 1)), done, each=False)[0].split(", about ")[1].startswith("")
    assert f"of work left at the pace of {HERE}" in status.status_lines(tiny(seeds=(0, 1)), done, each=False)[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_bar_ends_at_its_end_however_the_sums_are_rounded(seed, monkeypatch):
    parts = [0.1 * seed + 0.01, 0.37, 0.3 + 0.1 * seed, 0.7000001, 0.93, 1.0]
    monkeypatch.setattr(compute_estimate, "compute_cost", lambda run: 0.1 + 1e-3 * run.seed)
    study = tiny(seeds=range(40))
    todo = [study.cnn(number) for number in study.seeds]
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # tqdm's, where a bar is past its end
        with ProgressBar(todo, show=True) as bar:
            bar.bar.mininterval = 0
            for run in todo:
                for part in parts:
                    bar.update(run, part)
            assert bar.bar.n == bar.bar.total
    assert "-00" not in sys.stderr.getvalue()


# Seconds of one core that `efcn run digits --threads 1` took for runs of each kind, by `time.process_time`.
DIGITS = {
    **{"cnn": 0.87, "fcn": 0.61, "efcn": 0.35, "control": 0.44, "linear path": 1.32, "curvilinear path": 0.31},
    **{"string path": 1.56, "band path": 1.6, "bezier path": 1.54, "polygon path": 1.56, "output path": 0.08},
    **{"curvature of fcn": 0.41, "curvature of efcn": 0.43},
}


def of_digits():
    study = studies.load("digits")
    return {run: DIGITS[re.sub(r"( tw=\d+)? seed=0", "", run.label)] for run in runs(study)}


def of_alexnet():
    """The first seed of a recorded study of colour images."""
    folder = REPOSITORY / "results" / "alexnet-cifar100-narrow"
    found = recorded_study.indexed_runs(recorded_study.read_index(folder)).items()
    return {run: Store(folder).state(key).seconds for key, run in found if run.training.seed == 0}


def clocked(bar, clock):
    """The bar by this clock, which shows seconds; drawn only when asked to."""
    bar.bar._time, bar.bar.start_t, bar.bar.mininterval = lambda: clock[0], 0.0, 1e9
    return bar


def seconds_left(bar):
    (said,) = re.findall(r"about ([0-9:]+) left", str(bar.bar))
    return sum(int(number) * 60**power for power, number in enumerate(reversed(said.split(":"))))


@pytest.mark.parametrize("seconds_of", [of_digits, of_alexnet])
def test_after_the_first_tenth_the_time_left_holds_within_30_percent_by_recorded_clocks(seconds_of, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    seconds, clock = seconds_of(), [0.0]
    whole = sum(seconds.values())
    with ProgressBar(list(seconds), show=True) as bar:
        clocked(bar, clock)
        for run, taken in seconds.items():
            for quarter in (1, 2, 3, 4):
                clock[0] += taken / 4
                bar.update(run, quarter / 4)
                if clock[0] >= whole / 10:
                    assert clock[0] + seconds_left(bar) == pytest.approx(whole, rel=0.3, abs=1)


def test_what_was_done_before_does_not_make_the_rest_look_fast(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(compute_estimate, "compute_cost", lambda run: 1.0)
    one, other = (tiny(seeds=(0, 1)).cnn(seed) for seed in (0, 1))
    clock = [0.0]
    with ProgressBar([one, other], show=True) as bar:
        clocked(bar, clock)
        bar.begin(one, 0.9)
        clock[0] = 10.0
        bar.update(one, 1.0)
        assert seconds_left(bar) == 100
        bar.update(other, 1.0000001)  # as a sum of floats may be
        assert (seconds_left(bar), bar.bar.n) == (0, bar.bar.total)


def test_durations():
    known = {0.25: "0.25 s", 3.2: "3 s", 99: "99 s", 600: "10 min", 7200: "2.0 h", 50_000: "14 h"}
    assert {seconds: time_estimate.format_duration(seconds) for seconds in known} == known


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_clock_that_is_set_changes_no_progress(monkeypatch, jump):
    shift = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: time.time() + shift[0])
    run = tiny().cnn(0)
    with ProgressBar([run], show=True) as bar:
        bar.bar.mininterval = 0.0
        shift[0] = jump
        bar.update(run, 0.5)
        assert bar.bar.last_print_n == bar.bar.n > 0
        assert 0 <= bar.bar.format_dict["elapsed"] < 10
