"""The explorer as a piece of HTML that needs nothing else: no network, no other file, and to be read no JavaScript."""

import functools
import json
from collections.abc import Sequence
from importlib.resources import files

import matplotlib as mpl
import numpy as np
from IPython.display import display
from matplotlib.colors import to_hex

from efcnbook import notebook
from efcnbook.explorer.numbers import text
from efcnbook.figures import overview
from efcnbook.statistics import tables
from efcnbook.statistics.wording import escaped
from efcnlib.errors import UserError

SCRIPTS = ("arithmetic", "charts", "canvases", "model", "views", "panels", "explorer")
# Dark where the book or JupyterLab says so, and where nobody says anything but the system.
DARK = 'html[data-theme="dark"] .efcn-root, body[data-jp-theme-light="false"] .efcn-root'
AUTO = 'html:not([data-theme="light"], [data-theme="dark"]) body:not([data-jp-theme-light]) .efcn-root'


@functools.cache
def script() -> str:
    """JavaScript that defines `efcnExplorer`, with `mount(element, packs, options)` and its parts, and nothing else.

    It is a statement of a plain script or of a module; within a function, it leaves the page's names alone.
    """
    viridis = [to_hex(colour) for colour in mpl.colormaps["viridis"](np.arange(256))]
    parts = [f"const COLOURS = {json.dumps({'viridis': viridis}, separators=(',', ':'))};", *map(_read, _names("js"))]
    parts.append("return { mount, slider, arithmetic, models, charts, canvases, views };")
    return "const efcnExplorer = (() => {\n" + "\n".join(parts) + "\n})();\n"


@functools.cache
def style() -> str:
    """The style sheet of all that `efcnExplorer` makes; beyond it, only the output of a notebook that `html` is in."""
    dark = _read("dark.css")
    system = f"@media (prefers-color-scheme: dark) {{\n{AUTO} {{\n{dark}}}\n}}\n"
    return f"{_read('explorer.css')}\n{DARK} {{\n{dark}}}\n{system}"


def html(packs: Sequence[dict], anchor: str = "") -> str:
    """The explorer of the studies in ``packs``, see `numbers.pack`; static figures, until the script has replaced them.

    What is looked at stands in the address of a page whose explorer has no ``anchor``, by which another page shows it;
    there the first Tab leads to its first slider. UserError without a study.
    """
    _check(packs)
    named = f' id="{anchor}"' if anchor else ""
    return (
        f'<div class="efcn-explorer"{named}>\n<style>\n{style()}</style>\n'
        f'<div class="efcn-static">{"".join(map(static, packs))}</div>\n'
        f'<script type="application/json" class="efcn-packs">[{",".join(map(text, packs))}]</script>\n'
        f"<script>\n(() => {{\n{script()}{START}}})();\n</script>\n</div>"
    )


START = """const box = document.currentScript.parentElement;
const packs = JSON.parse(box.querySelector(".efcn-packs").textContent);
// A notebook has an address of its own, and of several explorers on a page the first has the page's.
const owns = !box.id && !document.body.dataset.jpThemeLight && box === document.querySelector(".efcn-explorer");
const options = owns ? shared() : {};
function shared() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.replace(/^#explore[?]/, "")));
  for (const name of ["tw", "epoch"]) if (name in given) given[name] = Number(given[name]);
  const onSelect = (state) => history.replaceState(null, "", `#explore?${new URLSearchParams(state)}`);
  const share = async () => {
    onSelect(box.efcnExplorer.state());
    try {
      await navigator.clipboard.writeText(location.href);
      return "its address is copied";
    } catch {
      return "copy the address of this page";
    }
  };
  return { ...(location.hash.startsWith("#explore?") ? given : {}), onSelect, share };
}
try {
  box.efcnExplorer = efcnExplorer.mount(box, packs, options);
  box.querySelector(".efcn-static").remove();
  if (owns && document.activeElement === document.body) { // the first Tab leads to the first slider
    const start = box.querySelector(".efcn-sliders");
    start.tabIndex = -1;
    start.focus({ preventScroll: true });
    start.blur();
    start.removeAttribute("tabindex");
  }
} catch (error) { // the figure stays
  box.querySelector(".efcn-root")?.remove();
  throw error;
}
"""


def show(packs: Sequence[dict], anchor: str = "") -> None:
    """Display the explorer in a notebook, and so in its page of the book; ``anchor`` as for `html`."""
    names = ", ".join(pack["study"]["name"] for pack in packs)
    display({"text/html": html(packs, anchor), "text/plain": f"The explorer of {names}, for a browser."}, raw=True)


def static(pack: dict) -> str:
    """Figure 0 of a pack's first seed with its caption, as HTML."""
    study, seed = pack["study"], pack["seeds"][0]
    runs = {(kind, None, 0): seed[kind] for kind in ("cnn", "fcn") if seed[kind]}
    runs |= {(kind, int(tw), 0): run for kind in ("efcn", "control") for tw, run in seed["runs"][kind].items()}
    caption = (
        f"Test accuracy of the CNN (red) against epochs of training. At each {notebook.TW} (circles) it is rewritten as"
        " an eFCN, which is trained on (blue); dotted: its control, the CNN resumed."
        f"<br><small>Study <b>{study['name']}</b>: {escaped(study['title'])}; seed {seed['seed']}; on"
        f" {escaped(seed['device'])}. With JavaScript, this figure becomes the explorer.</small>"
    )
    alt = (
        f"Test accuracy curve of a CNN over {study['epochs']} epochs, with the histories of"
        f" {len(seed['runs']['efcn'])} eFCNs above it."
    )
    figure = overview.overview(tables.tidy(runs))
    return notebook.framed(figure, caption, alt, colours=128)


def _check(packs: Sequence[dict]) -> None:
    if not packs:
        raise UserError("no study to explore: name one at least, as in quick, digits")
    names = [pack["study"]["name"] for pack in packs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"study {twice[0]} is given twice: name each study once")


def _names(ending: str) -> list[str]:
    return [f"{name}.{ending}" for name in SCRIPTS]


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")
