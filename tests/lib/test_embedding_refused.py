"""What embed refuses, in a line that names the layer."""

import pytest

from efcnlib import metrics
from efcnlib.embedding import embed
from efcnlib.errors import UserError
from efcns import SHAPE, example


def fails(text):
    """One line of UserError that contains ``text``."""
    return pytest.raises(UserError, match=rf"^(?=[^\n]*\Z).*{text}")


def test_unknown_part():
    with fails("unknown part 'lcoal': choose one of local, off-local"):
        metrics.masked_weights(embed(example(), SHAPE), "lcoal")
