"""What a terminal shows of warnings. Loads nothing heavy: the command `efcn` starts with it."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def plain_warnings(stream: TextIO | None = None) -> Iterator[None]:
    """Show warnings as lines of text, without the place in the source they come from.

    :param stream: Where they go; None: stderr.

    >>> import sys, warnings
    >>> from efcnlab.console import plain_warnings
    >>> with plain_warnings(sys.stdout):
    ...     warnings.warn("a run is damaged")
    warning: a run is damaged
    """
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=stream or sys.stderr)
        yield
