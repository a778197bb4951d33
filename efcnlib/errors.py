"""The one exception a user ever meets: a line that names the wrong value and the allowed ones."""

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: a wrong name or number, no network, a full disk.

    The message is one line, written to be read: the value that was wrong, then what is allowed or what to do.
    The command line prints it without a traceback and exits with 2; IPython shows it alone, through the hook below.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what a notebook shows instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def at_least(least: int, **values: object) -> None:
    """Raise UserError unless each of ``values`` is an integer of at least ``least``; the keywords name them."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{name} {shortened(value)} is not allowed: give an integer of at least {least}")


def choice(what: str, value: object, allowed: Iterable[object]) -> None:
    """Raise UserError unless ``value`` is one of ``allowed``; ``what`` names it, as in "study"."""
    names = list(allowed)
    if value not in names:
        listing = ", ".join(str(name) for name in names)
        raise UserError(f"unknown {what} {shortened(value)}: choose one of {listing}")


def shortened(value: object) -> str:
    """A value as it stands in an error's line, which a long one must not fill."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def dtype_name(dtype: object) -> str:
    """A number type of PyTorch's as it stands in an error's line: "float32"."""
    return str(dtype).removeprefix("torch.")


def enumerated(numbers: Iterable[int]) -> str:
    """Numbers as in "0, 1 and 2"; nothing for none."""
    *first, last = [str(number) for number in numbers] or [""]
    return f"{', '.join(first)} and {last}" if first else last
