"""Phrases that pages share: relax times listed, what diverged."""

from math import nan

import pytest

from efcnbook.statistics import wording
from measured import seeds


@pytest.mark.parametrize(
    ("times", "said"),
    [((), "no $t_w$"), ((3,), "$t_w$ = 3"), ((0, 3), "$t_w$ = 0 and 3"), ((0, 3, 9), "$t_w$ = 0, 3 and 9")],
)
def test_relax_times_are_listed(times, said):
    assert wording.at(times) == said


def test_what_diverged_is_named():
    good, lost = ({"train_loss": [2.3, loss]} for loss in (1.0, nan))
    whole = seeds(efcn={0: [good, good], 5: [good, good]}, fcn=[good, good])
    assert wording.diverged(whole) == []
    broken = seeds(efcn={0: [good, lost], 5: [good, good]}, fcn=[good, lost], control_fcn=[lost, lost])
    assert wording.diverged(broken) == [
        "**Diverged**, its training loss NaN: the eFCN at $t_w$ = 0, the standard FCN in seed 1 and the standard FCN at"
        " the eFCN's rate in seeds 0 and 1."
    ]
