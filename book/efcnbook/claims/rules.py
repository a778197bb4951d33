"""The rules by which claims are judged, as numbers and as the sentences that the page of the claims shows.

They were written before the records of the paper's size, and are changed for all studies or for none: the page names
the commit that last changed this file, and which records are older.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from efcnlab.environment import REPOSITORY

LEVEL = 0.95  # of all effects of a comparison together
LATE = 0.1  # of the last relax time: from there on a relax time is late
CORRELATION = 0.5  # of the deviations at two relax times of a seed, as far as it lessens the degrees of freedom
NARROWEST = 2.5  # test images to each side, the least that an interval reaches
MOST_SEEDS = 100  # beyond which no number of seeds is promised to decide anything
LEARNT = 0.99  # of ln C, the loss of guessing among C classes: a higher train loss is that of a network at chance
EXACT = 1e-10  # the largest relative difference between exact outputs, in float64
ORDERS = 2.0  # "several orders of magnitude", at least
BAND = 0.96, 0.98  # "about 97 %"
SUPPLEMENT_EPOCHS = 100  # after the embedding

RULES = f"""\
- **Effects.** Every number is a mean over seeds of differences within a seed. A comparison has these effects: that at
  each relax time, the *late mean* over those of at least {100 * LATE:.0f} % of the last, and the *early mean* over the
  others. No epoch, relax time or rival is picked after the fact.
- **Equal terms.** The last accuracy is compared with the last, after as many epochs in total; the best of several
  measurements with the best of as many, spread evenly over the rival's training.
- **Noise.** The standard deviation of a seed is pooled over the early and over the late relax times apart. It is
  never taken smaller than the error that the choice of test images leaves in one difference: √((d − D²) / n) for n
  images, a difference D of accuracies, and the fraction d of images that one of the two networks alone gets right.
  Where d was not recorded, the networks are taken to err independently, which is more.
- **Intervals** are Student's, at {100 * LEVEL:.0f} % for all effects of a comparison together (Bonferroni). k relax
  times of n seeds count as k (n − 1) / (1 + (k − 1) / 4) degrees of freedom, as if the deviations at two of them were
  correlated by one half; a mean over relax times is taken to be as uncertain as one of them. No interval is narrower
  than {2 * NARROWEST:g} test images. One seed has no interval, nor have seeds that agree to the last image.
- **Verdicts.** An effect is *above* or *below* where its whole interval is, else *open*. A claim about every relax
  time *holds* if the effect is above at each, *fails* if it is below at each, is *open* if no effect is decided, and
  *mixed* in all other cases. A claim about some relax time *holds* if one effect is above, *fails* if all are below,
  and is *open* otherwise. A claim of several parts that disagree is mixed.
- **Not tested** is a relax time at which one of the compared networks diverged, or is still at chance (its train loss
  above {LEARNT:g} ln C for C classes), in any seed; at which the rival was not trained for as many epochs; a string
  that lies above the line it started from; claim 2 at another length than the supplement's {SUPPLEMENT_EPOCHS}
  epochs; the 97 % of claim 7 where the architecture's random start alone lies elsewhere.
- **Placebo.** Whatever is tested of the eFCN is tested of its controls by the same rule, and shown beneath it. A
  claim that its control fulfils as well says nothing about the eFCN.
"""


def early(times: Sequence[int]) -> list[int]:
    """The relax times, of ``times``, before a tenth of the last.

    >>> from efcnbook.claims.rules import early, late
    >>> early([0, 5, 18, 61, 100]), late([0, 5, 18, 61, 100])
    ([0, 5], [18, 61, 100])
    """
    return [tw for tw in times if tw < LATE * max(times)]


def late(times: Sequence[int]) -> list[int]:
    """The others of ``times``."""
    return [tw for tw in times if tw >= LATE * max(times)]


def last_change() -> tuple[str, str]:
    """Digits and date (ISO 8601) of the commit that last changed these rules; empty outside of a clone."""
    command = ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%h %cI", "--", str(Path(__file__).resolve())]
    try:
        digits, _, date = (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition(" ")
        )
    except (OSError, subprocess.CalledProcessError):
        return "", ""
    return digits, date
