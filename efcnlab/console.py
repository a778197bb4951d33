"""What a terminal shows. Loads nothing heavy: the command `efcn` starts with it."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO


def printable(text: object) -> str:
    r"""A text that others may have written, on one line, its control characters as Python writes them.

    >>> from efcnlab.console import printable
    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text))


def print_anywhere() -> None:
    """Let stdout and stderr show what their encoding lacks as a question mark, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def reader_is_gone() -> None:
    """Leave stdout closed by its reader, as `| head` does, without a word when the interpreter flushes it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        warnings.showwarning = lambda message, *_: print(f"warning: {printable(message)}", file=stream or sys.stderr)
        yield
