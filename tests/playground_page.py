"""What the playground's page is asked and told in a browser."""

import base64
import io

import numpy as np
from PIL import Image

MARK = [204, 51, 17, 255]  # what is marked is outlined in it, by day


PICTURE = "([name, level]) => document.querySelectorAll(`.efcn-${name} .efcn-panel canvas`)[level].toDataURL()"


STEP = """async ([name, value, panel, at]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await frame();
  const start = performance.now();
  if (name) {
    const input = document.querySelector(`[id$="-${name}"]`);
    input.value = value;
    input.dispatchEvent(new Event("input"));
  } else {
    const box = document.querySelector(`.efcn-${panel} .efcn-panel`);
    const edge = box.getBoundingClientRect();
    const place = { clientX: edge.left + at * edge.width, clientY: edge.top + at * edge.height };
    box.dispatchEvent(new PointerEvent("pointermove", place));
  }
  await frame();
  return performance.now() - start;
}"""


def whole(*pieces):
    """A page with these pieces of HTML."""
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Playground</title>'
    head += '<meta name="viewport" content="width=device-width"><style>body { max-width: 700px }'
    head += " @media (prefers-color-scheme: dark) { body { background: #121212; color: #ddd } }</style></head>"
    return f"{head}<body><main><h1>Playground</h1>{''.join(pieces)}</main></body></html>"


def drawn(tab, name, level=0):
    """The pixels of a picture, or with level 1 of what is marked in it: [height, width, RGBA]."""
    _, _, data = tab.evaluate(PICTURE, [name, level]).partition("base64,")
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def marked(tab, name, across, down):
    """Column and row of the cell in a picture of ``across`` x ``down`` cells that is outlined; None if none is."""
    over = drawn(tab, name, 1)
    ys, xs = (over == MARK).all(-1).nonzero()
    if not len(ys):
        return None
    height, width = over.shape[:2]
    return (xs.min() + xs.max()) / 2 * across // width, (ys.min() + ys.max()) / 2 * down // height


def point(tab, name, column, row, across, down):
    """Move the mouse to a cell."""
    box = tab.locator(f".efcn-{name} .efcn-panel").first.bounding_box()
    x = box["x"] + (column + 0.5) * box["width"] / across
    tab.mouse.move(x, box["y"] + (row + 0.5) * box["height"] / down)


def said(tab):
    return tab.locator(".efcn-sentence").first.inner_text()


def note(tab):
    return tab.locator(".efcn-note").first.inner_text()


def choose(tab, name, value):
    tab.locator(f'[id$="-{name}"]').first.fill(str(value))
