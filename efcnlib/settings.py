"""Settings as frozen dataclasses that check their values, by themselves and inside pydantic models alike."""

import functools
import math
import operator
from dataclasses import dataclass
from typing import Annotated, get_args, get_origin, get_type_hints

from efcnlib.errors import UserError, shortened

TESTS = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
WORDS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


class SettingsError(UserError, ValueError):
    """A value that a setting does not take; pydantic, for which it is a ValueError, says in which model."""


@dataclass(frozen=True)
class Bounds:
    """What a number may be: finite, and within these; written ``Annotated[float, Bounds(gt=0)]``, a field's type."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def number(self, name: str, value: object, kind: type) -> float:
        """``value`` as a number of this ``kind``: 1 and 1.0 are one setting, one key of a run. SettingsError."""
        given = {bound: limit for bound, limit in vars(self).items() if limit is not None}
        try:
            is_number = type(value) in (int, kind) and math.isfinite(value)
        except OverflowError:  # an integer beyond the floats
            is_number = False
        if not is_number or not all(TESTS[bound](value, limit) for bound, limit in given.items()):
            wanted = " and ".join(f"{WORDS[bound]} {limit:g}" for bound, limit in given.items())
            what = "an integer" if kind is int else "a number"
            raise SettingsError(f"{name} {shortened(value)} is not allowed: give {what} {wanted}")
        return kind(value)

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> dict[str, object]:
        """What pydantic asks of a field's annotation: the schema of its type, with these bounds."""
        return handler(source) | {bound: limit for bound, limit in vars(self).items() if limit is not None}


class Settings:
    """Base of frozen dataclasses whose fields are bounded numbers and choices, ``Literal``.

    >>> from dataclasses import dataclass
    >>> from typing import Annotated
    >>> from efcnlib.settings import Bounds, Settings
    >>> @dataclass(frozen=True)
    ... class Step(Settings):
    ...     lr: Annotated[float, Bounds(gt=0, le=100)] = 0.1
    >>> Step(lr=0)
    Traceback (most recent call last):
        ...
    efcnlib.settings.SettingsError: lr 0 is not allowed: give a number greater than 0 and at most 100
    """

    __pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}  # noqa: RUF012  # read by pydantic's name for it

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(hint) is Annotated:
                kind, bounds = get_args(hint)
                object.__setattr__(self, name, bounds.number(name, value, kind))
            elif not any(type(value) is type(one) and value == one for one in get_args(hint)):  # True is not 1
                allowed = ", ".join(map(str, get_args(hint)))
                raise SettingsError(f"unknown {name} {shortened(value)}: choose one of {allowed}")


_hints = functools.cache(functools.partial(get_type_hints, include_extras=True))
