"""Curvature as drawn and said: every number where it belongs; change the numbers, and the sentences change."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from drawn_paths import assert_legible, legend, panels
from efcnbook.figures import curvature_plots
from efcnbook.findings import curvature_findings
from efcnbook.findings.accuracy_findings import ONE_SEED
from efcnbook.statistics.curvatures import with_shares
from efcnbook.statistics.tables import tidy
from efcnlib.landscape.hessian import PARTS
from efcnlib.training.optimisers import Optimiser

TIMES = (0, 3, 24)


def history(rng, **changes):
    """What `curvature.measure` returns, of made-up numbers."""
    squares = {part: rng.random(2) for part in PARTS}
    total, tops = sum(squares.values()), rng.dirichlet([1, 1, 1], size=2)
    row = {"epoch": [0, 8], "loss": [2.0, 0.5], "gradient_norm": np.sqrt(total).tolist()}
    for i, (part, values) in enumerate(squares.items()):
        row[f"gradient_{part}"] = np.sqrt(values).tolist()
        row[f"top_{part}"] = tops[:, i].tolist()
        row[f"weights_{part}"] = [{"local": 20, "off_local": 70, "rest": 10}[part]] * 2
    for prefix, scale in (("", 10), ("local_", 5), ("off_local_", 4)):
        row[f"{prefix}eigenvalues"] = (-np.sort(-scale * (1 + rng.random((2, 3))))).tolist()
        row[f"{prefix}residuals"] = np.full((2, 3), 1e-3).tolist()
        row[f"{prefix}lowest"], row[f"{prefix}lowest_residual"] = [-0.5, -0.2], [0.1, 0.1]
    return row | changes


def histories(count=1, **changes):
    """Those of so many seeds: the eFCNs' by relax time, and the standard FCN's."""
    rng = np.random.default_rng(0)
    return {tw: [history(rng, **changes) for _ in range(count)] for tw in TIMES}, [history(rng) for _ in range(count)]


def table(efcn, fcn=()):
    """The table of these histories."""
    runs = {("efcn", tw, seed): h for tw, of in efcn.items() for seed, h in enumerate(of)}
    return with_shares(tidy(runs | {("fcn", None, seed): h for seed, h in enumerate(fcn)}))


def spread(values):
    """Mean, least and most over the seeds."""
    return [np.mean(values, axis=0), np.min(values, axis=0), np.max(values, axis=0)]


def bars(ax):
    """Where each of the vertical bars ends, below and above."""
    return [np.array([segment[:, 1] for segment in found.get_segments()]) for found in ax.collections]


def test_eigenvalues_stand_above_their_relax_times_at_both_moments():
    efcn, fcn = histories()
    figure = curvature_plots.eigenvalues(table(efcn, fcn), edge=20.0)
    assert [ax.get_title() for ax in panels(figure)] == ["at the embedding", "at the end"]
    for moment, ax in enumerate(panels(figure)):
        lines = {line.get_label(): line for line in ax.lines}
        for label, name in (
            ("whole Hessian", "eigenvalues"),
            ("local weights alone", "local_eigenvalues"),
            ("off-local weights alone", "off_local_eigenvalues"),
        ):
            np.testing.assert_allclose(lines[label].get_xdata(), TIMES)
            np.testing.assert_allclose(lines[label].get_ydata(), [run[name][moment][0] for (run,) in efcn.values()])
        np.testing.assert_allclose(lines["lowest of the whole"].get_ydata(), [[-0.5, -0.2][moment]] * 3)
        np.testing.assert_allclose(lines["standard FCN, top"].get_ydata(), fcn[0]["eigenvalues"][moment][0])
        np.testing.assert_allclose(lines["2 / learning rate"].get_ydata(), 20)
        dots = [line for line in ax.lines if line.get_marker() == "."]
        assert [list(line.get_ydata()) for line in dots] == [run["eigenvalues"][moment][1:] for (run,) in efcn.values()]
    assert len(legend(figure)) == 7
    assert_legible(figure)
    assert "2 / learning rate" not in legend(curvature_plots.eigenvalues(table(efcn, fcn)))


def test_a_part_without_weights_leaves_a_gap():
    efcn, fcn = histories()
    efcn[3][0]["off_local_eigenvalues"] = [None, None]
    ax = panels(curvature_plots.eigenvalues(table(efcn, fcn)))[0]
    (line,) = [line for line in ax.lines if line.get_label() == "off-local weights alone"]
    assert [math.isnan(value) for value in line.get_ydata()] == [False, True, False]
    assert curvature_findings.rows(table(efcn))[2][6] == ""
    assert not any("along off-local" in line for line in curvature_findings.sharpness(table(efcn, fcn)))


def test_gradients_are_drawn_by_part():
    efcn, _ = histories()
    figure = curvature_plots.gradients(table(efcn))
    for moment, ax in enumerate(panels(figure)):
        assert ax.get_yscale() == "log"
        names = ["gradient_norm", *(f"gradient_{part}" for part in PARTS)]
        for line, name in zip(ax.lines, names, strict=True):
            np.testing.assert_allclose(line.get_ydata(), [run[name][moment] for (run,) in efcn.values()])
    assert legend(figure) == ["all", "local", "off-local", "biases and last layers"]
    assert_legible(figure)


def test_shares_add_up_and_are_those_of_the_squares():
    efcn, _ = histories()
    figure = curvature_plots.shares(table(efcn))
    rows = np.reshape(panels(figure), (2, 2))
    for moment in (0, 1):
        for row, name in enumerate(("gradient", "top")):
            bars = rows[row, moment].patches
            assert len(bars) == 9
            np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in bars[6:]], 100)
            for bar, (tw, part) in zip(bars, ((tw, part) for part in PARTS for tw in TIMES), strict=True):
                (run,) = efcn[tw]
                share = run[f"top_{part}"][moment]
                if name == "gradient":
                    share = (run[f"gradient_{part}"][moment] / run["gradient_norm"][moment]) ** 2
                assert bar.get_height() == pytest.approx(100 * share)
                assert to_hex(bar.get_facecolor()) == to_hex(curvature_plots.COLOURS[part])
            np.testing.assert_allclose(rows[row, moment].lines[0].get_ydata(), 20)  # of 100 weights
    assert_legible(figure)


@pytest.mark.parametrize("draw", ["eigenvalues", "gradients"])
def test_of_several_seeds_means_are_drawn_with_bars_from_least_to_most(draw):
    efcn, fcn = histories(3)
    figure = (
        curvature_plots.eigenvalues(table(efcn, fcn))
        if draw == "eigenvalues"
        else curvature_plots.gradients(table(efcn))
    )
    names = {"whole Hessian": "eigenvalues", "off-local weights alone": "off_local_eigenvalues", "all": "gradient_norm"}
    for moment, ax in enumerate(panels(figure)):
        found = [line for line in ax.lines if line.get_label() in names]
        assert found
        for line in found:
            runs = [[run[names[line.get_label()]][moment] for run in of] for of in efcn.values()]
            mean, low, high = spread(np.reshape(runs, (3, 3, -1))[:, :, 0].T)
            np.testing.assert_allclose(line.get_ydata(), mean)
            assert any(np.allclose(ends, np.column_stack([low, high])) for ends in bars(ax) if len(ends) == 3)
        if draw == "eigenvalues":
            mean, low, high = spread([run["eigenvalues"][moment][0] for run in fcn])
            (line,) = [line for line in ax.lines if line.get_label() == "standard FCN, top"]
            np.testing.assert_allclose(line.get_ydata(), mean)
            (band,) = ax.patches
            assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((low, high))
            dots = [list(line.get_ydata()) for line in ax.lines if line.get_marker() == "."]
            np.testing.assert_allclose(
                dots, [np.mean([run["eigenvalues"][moment][1:] for run in of], axis=0) for of in efcn.values()]
            )
    assert len(figure.table) == (24 if draw == "eigenvalues" else 18)  # every seed at both moments
    assert_legible(figure)


def test_shares_of_several_seeds_are_means_with_bars_at_their_edges():
    efcn, _ = histories(3)
    figure = curvature_plots.shares(table(efcn))
    for moment, column in enumerate(np.reshape(panels(figure), (2, 2)).T):
        ax = column[1]  # the top eigenvector's
        locals_ = [spread([100 * run["top_local"][moment] for run in of]) for of in efcn.values()]
        rests = [spread([100 * (1 - run["top_rest"][moment]) for run in of]) for of in efcn.values()]
        np.testing.assert_allclose([bar.get_height() for bar in ax.patches[:3]], [mean for mean, *_ in locals_])
        np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in ax.patches[6:]], 100)
        for ends, expected in zip(bars(ax), (locals_, rests), strict=True):
            np.testing.assert_allclose(ends, [(low, high) for _, low, high in expected])
    assert len(figure.table) == 18
    assert_legible(figure)


def said(lines):
    """Answers by the first words of their questions."""
    return {line.split("**")[1]: line.split("**", 2)[2] for line in lines if line.startswith("**")}


def test_rising_and_falling_count_only_beyond_both_residuals():
    efcn, fcn = histories()
    for tw, (before, after) in {0: (3.0, 9.0), 3: (9.0, 3.0), 24: (5.0, 5.0015)}.items():
        efcn[tw][0]["eigenvalues"] = [[before, 1, 1], [after, 1, 1]]
    answer = said(curvature_findings.sharpness(table(efcn, fcn)))[
        "Does training after the embedding make the loss more curved?"
    ]
    assert "rises at $t_w$ = 0 and falls at $t_w$ = 3: 3 → 9 ($t_w$ = 0), 9 → 3 ($t_w$ = 3)" in answer
    lines = curvature_findings.sharpness(table(efcn, fcn), edge=8.0)
    assert any("2 / learning rate is 8: " in line and line.endswith("that is so at $t_w$ = 0.") for line in lines)


def test_off_local_weights_are_compared_with_local_ones():
    efcn, fcn = histories()
    for tw, off in {0: 7.0, 3: 4.0, 24: 5.0015}.items():
        efcn[tw][0]["local_eigenvalues"], efcn[tw][0]["off_local_eigenvalues"] = [[5.0]] * 2, [[off]] * 2
        efcn[tw][0]["gradient_local"], efcn[tw][0]["gradient_off_local"] = [5.0] * 2, [off] * 2
    lines = [line for line in curvature_findings.sharpness(table(efcn, fcn)) if "along off-local" in line]
    assert len(lines) == 2
    assert all("At 1 of 3 relax times: $t_w$ = 0; not at $t_w$ = 3 and 24." in line for line in lines)
    assert "7 and 5 ($t_w$ = 0), 4 and 5 ($t_w$ = 3)" in lines[0]
    pull = said(curvature_findings.pull(table(efcn)))
    (answer,) = pull.values()
    assert "At 2 of 3 relax times: $t_w$ = 0 and 24; not at $t_w$ = 3" in answer


def test_negative_curvature_counts_where_it_is_certain():
    efcn, fcn = histories()
    efcn[3][0]["lowest_residual"] = [0.1, 0.3]
    efcn[3][0]["eigenvalues"][1][0] = 20.0
    answer = said(curvature_findings.sharpness(table(efcn, fcn)))["Is the end a minimum?"]
    assert "below zero for certain at $t_w$ = 0 and 24" in answer
    assert "is 1.0 % to" in answer


def test_the_worst_residual_is_told():
    efcn, _ = histories()
    efcn[3][0]["residuals"][0][2] = 0.05 * efcn[3][0]["eigenvalues"][0][0]
    assert "at most 5 % of the top one" in curvature_findings.certainty(table(efcn))[0]


def test_the_table_has_two_rows_for_each_time():
    efcn, _ = histories()
    rows = curvature_findings.rows(table(efcn))
    assert [row[:2] for row in rows] == [[str(tw), str(epoch)] for tw in TIMES for epoch in (0, 8)]
    assert all(len(row) == len(curvature_findings.HEADER) for row in rows)
    assert rows[1][7] == "−0.2"
    assert float(rows[0][3]) == pytest.approx(efcn[0][0]["eigenvalues"][0][0], rel=5e-3)


def test_of_several_seeds_what_is_said_is_so_in_each_and_numbers_are_means():
    efcn, fcn = histories(2)
    for tw, ends in {0: (9.0, 7.0), 3: (9.0, 1.0), 24: (2.0, 1.0)}.items():
        for run, after in zip(efcn[tw], ends, strict=True):
            run["eigenvalues"] = [[3.0, 1, 1], [after, 1, 1]]
    answer = said(curvature_findings.sharpness(table(efcn, fcn)))[
        "Does training after the embedding make the loss more curved?"
    ]
    assert "rises at $t_w$ = 0 and falls at $t_w$ = 24, counted where every seed says so: 3 → 8 ($t_w$ = 0)" in answer
    last = curvature_findings.certainty(table(efcn))[-1]
    assert last.startswith("Single numbers are means over 2 seeds; “X to Y” is the minimum and the maximum")
    assert curvature_findings.rows(table(efcn))[1][3] == "8 (7 to 9)"
    assert curvature_findings.certainty(table(histories()[0]))[-1] == ONE_SEED


@pytest.mark.parametrize(
    ("settings", "edge"), [({"lr": 0.1}, 20), ({"lr": 0.1, "momentum": 0.9}, None), ({"name": "adam", "lr": 0.1}, None)]
)
def test_only_plain_gradient_descent_has_an_edge(settings, edge):
    assert curvature_findings.edge(Optimiser(**settings)) == (edge and pytest.approx(edge))


def test_numbers_that_are_none_say_so():
    nan = [[math.nan] * 3] * 2
    efcn, fcn = histories(eigenvalues=nan, residuals=nan, lowest=[math.nan] * 2, gradient_norm=[0.0] * 2)
    lines = curvature_findings.sharpness(table(efcn, fcn), 20.0) + curvature_findings.pull(table(efcn))
    assert any("nan" in line for line in lines + curvature_findings.certainty(table(efcn)))
    curvature_plots.eigenvalues(table(efcn, fcn)).draw_without_rendering()
    curvature_plots.shares(table(efcn)).draw_without_rendering()
