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
            raise UserError(f"{name} {value!r} is not allowed: give an integer of at least {least}")


def choice(what: str, value: object, allowed: Iterable[object]) -> None:
    """Raise UserError unless ``value`` is one of ``allowed``; ``what`` names it, as in "study"."""
    names = list(allowed)
    if value not in names:
        listing = ", ".join(str(name) for name in names)
        raise UserError(f"unknown {what} {value!r}: choose one of {listing}")
