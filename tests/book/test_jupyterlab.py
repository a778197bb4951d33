"""The live notebook in a real JupyterLab, driven in a real browser without a network: train, stop, reload, resume."""

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import Page, expect

from browser import OWN
from efcnbook.explorer.relax_times import KINDS, with_times
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlab.run import study_runner
from efcnlab.store.run_store import Store, key_of

PATIENCE = 120_000  # milliseconds: for a slow machine that does other things as well
TW = 3
# Long enough to be stopped before it is over.
STUDY = {"like": "digits", "epochs": 6, "relax_epochs": 400, "relax_times": [0], "path_times": []}
STUDY |= {"data": {"name": "digits", "train": 500, "test": 200}, "measurements": 12}
# What JupyterLab would ask of other hosts.
SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A study file."""
    path = tmp_path_factory.mktemp("study") / "small.json"
    path.write_text(json.dumps(STUDY))
    return path


@pytest.fixture(scope="module")
def store(study, tmp_path_factory) -> Store:
    """A run store with the study in it."""
    store = Store(tmp_path_factory.mktemp("runs"))
    study_runner.run_study(studies.load(str(study)), store, progress=False)
    return store


@pytest.fixture(scope="module")
def lab(study, store, tmp_path_factory):
    """A JupyterLab, its settings its own: the address of a copy of the notebook for the study, and its file."""
    home = tmp_path_factory.mktemp("lab")
    (home / "notebooks").mkdir()
    notebook = nbformat.read(REPOSITORY / "notebooks" / "explorer.ipynb", 4)
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source = parameters.source.replace('studies = "quick"', f'studies = "{study}"')
    file = home / "notebooks" / "explorer.ipynb"
    nbformat.write(notebook, file)
    (home / "jupyter_config_dir" / "labconfig").mkdir(parents=True)
    (home / "jupyter_config_dir" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    places += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(home / name.lower()) for name in places}
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    token = secrets.token_hex()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += ["--ServerApp.port=0", f"--ServerApp.root_dir={home / 'notebooks'}", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--LabApp.extension_manager=readonly"]
    environment = os.environ | own | {"EFCN_ROOT": str(store.root), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        root = address(server, Path(own["JUPYTER_RUNTIME_DIR"]), home / "log")
        yield f"{root}lab/tree/explorer.ipynb?token={token}", file
    finally:
        end(server)


def address(server: subprocess.Popen, folder: Path, log: Path) -> str:
    """Where the server answers, once it does."""
    deadline = time.monotonic() + PATIENCE / 1000
    while server.poll() is None and time.monotonic() < deadline:
        for path in folder.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # being written
                return json.loads(path.read_text())["url"]
        time.sleep(0.1)
    pytest.fail(f"JupyterLab does not start: {log.read_text()}")


def end(server: subprocess.Popen) -> None:
    """End the server and its kernels."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family)
    server.wait()


@pytest.fixture
def tab(browser):
    """A tab, and all that goes wrong in it or is asked of another host in ``troubles``."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    tab.troubles = []
    tab.on("pageerror", lambda error: tab.troubles.append(f"error: {error}"))

    def asked(request) -> None:
        if not OWN.match(request.url):
            tab.troubles.append(f"asked: {request.url}")

    tab.on("request", asked)
    tab.on("dialog", lambda dialog: dialog.accept())  # it may ask whether to leave
    yield tab
    context.close()


def command(tab: Page, menu: str, item: str) -> None:
    """Choose from JupyterLab's menu."""
    tab.get_by_role("menuitem", name=menu, exact=True).click()
    tab.get_by_role("menuitem", name=item).first.click()


def reached(tab: Page) -> float:
    """What the progress bar shows, 0 to 1."""
    return float(tab.locator(".efcn-panel .progress-bar").evaluate("bar => parseFloat(bar.style.width)")) / 100


def points(tab: Page) -> int:
    """How many measurements of the chosen run are drawn in the table."""
    return tab.locator(".efcn-panel .efcn-table tbody tr").count()


def until(tab: Page, condition) -> None:
    """Wait for a condition on the page."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline, tab.locator(".efcn-panel").inner_text()
        tab.wait_for_timeout(50)


def test_train_stop_reload_resume(lab, study, store, tab, tmp_path):
    url, file = lab
    tab.goto(url)
    tab.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()  # its kernel is there
    command(tab, "Run", "Run All Cells")
    panel = tab.locator(".efcn-panel")
    train, stop = (
        panel.get_by_role("button", name="Train", exact=True),
        panel.get_by_role("button", name="Stop", exact=True),
    )
    resume, status = panel.get_by_role("button", name="Resume", exact=True), panel.locator(".efcn-stand")
    panel.wait_for()
    recorded = tab.locator(".efcn-explorer > .efcn-root")
    expect(recorded).to_be_hidden(timeout=PATIENCE)  # one explorer is enough
    time_field = panel.get_by_label("Train small, seed 0, at tw =")
    time_field.fill(str(TW))
    time_field.press("Tab")
    expect(status).to_have_text(re.compile(rf"tw = {TW} was never trained\. It takes about \d+ s\."), timeout=PATIENCE)
    expect(stop).to_be_disabled()

    train.click()
    expect(status).to_contain_text("the eFCN is at epoch", timeout=PATIENCE)
    until(tab, lambda: points(tab) >= 3)
    seen = points(tab)
    until(tab, lambda: points(tab) > seen)  # the curve grows
    stop.click()
    expect(status).to_contain_text("it can go on", timeout=PATIENCE)
    part, seen = reached(tab), points(tab)
    assert 0 < part < 1
    run = with_times(studies.load(str(study)), [TW]).relaxed("efcn", TW, 0)
    assert store.state(key_of(run)).name == "interrupted"

    command(tab, "File", "Save Notebook")
    until(tab, lambda: "widget-view" in file.read_text("utf-8"))
    tab.reload()
    tab.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()
    panel.wait_for()
    expect(status).to_contain_text("it can go on", timeout=PATIENCE)
    assert reached(tab) == pytest.approx(part, abs=0.01)
    until(tab, lambda: points(tab) == seen)
    expect(recorded).to_be_hidden(timeout=PATIENCE)

    command(tab, "Kernel", "Restart Kernel and Run All Cells")  # what was trained is left to the next kernel
    tab.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(status).to_contain_text(f"tw = {TW} was interrupted", timeout=PATIENCE)
    assert reached(tab) == pytest.approx(part, abs=0.01)

    resume.click()
    expect(status).to_have_text(f"tw = {TW} is trained, its runs are in the store.", timeout=2 * PATIENCE)
    results = study_runner.StudyResults(with_times(studies.load(str(study)), [TW]), store)
    for kind in KINDS:
        assert results._record(results.study.relaxed(kind, TW, 0)).history["epoch"][-1] == STUDY["relax_epochs"]
    until(tab, lambda: points(tab) == len(results.efcn(TW, 0).history["epoch"]))
    assert not tab.troubles
    fresh = study_runner.run_study(results.study, Store(tmp_path / "fresh"), progress=False)
    assert fresh.efcn(TW, 0).history == results.efcn(TW, 0).history
