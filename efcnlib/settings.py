"""Settings as frozen dataclasses that check their values, by themselves and inside pydantic models alike."""

import math
from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from efcnlib.errors import UserError, choice, shortened


@dataclass(frozen=True)
class Bounds:
    """What a number may be: greater than ``gt``, at least ``ge``, less than ``lt``, at most ``le``; all finite.

    Written ``Annotated[float, Bounds(gt=0)]`` as the type of a field of `Settings`.
    """

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """The bounds there are, by name."""
        return {field.name: bound for field in fields(self) if (bound := getattr(self, field.name)) is not None}

    @property
    def words(self) -> str:
        """The bounds in words: "greater than 0 and at most 100"."""
        names = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
        return " and ".join(f"{names[name]} {bound:g}" for name, bound in self.given.items())

    def allows(self, value: object) -> bool:
        """Whether ``value`` is a finite number within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        tests = {"gt": float.__gt__, "ge": float.__ge__, "lt": float.__lt__, "le": float.__le__}
        return all(tests[name](float(value), float(bound)) for name, bound in self.given.items())

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> dict[str, object]:
        """What pydantic asks of a field's annotation: the schema of its type, with these bounds."""
        return handler(source) | self.given


class Settings:
    """Base of frozen dataclasses whose fields are bounded numbers, choices and flags; UserError names a wrong one.

    >>> from dataclasses import dataclass
    >>> from typing import Annotated
    >>> from efcnlib.settings import Bounds, Settings
    >>> @dataclass(frozen=True)
    ... class Step(Settings):
    ...     lr: Annotated[float, Bounds(gt=0, le=100)] = 0.1
    >>> Step(lr=0)
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: lr 0 is not allowed: give a number greater than 0 and at most 100
    """

    __pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}  # noqa: RUF012  # read by pydantic's name for it

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name, None)
            if get_origin(hint) is Annotated:
                kind, bounds = get_args(hint)
                if not bounds.allows(value) or (kind is int and not isinstance(value, int)):
                    what = "an integer" if kind is int else "a number"
                    raise UserError(f"{name} {shortened(value)} is not allowed: give {what} {bounds.words}")
            elif get_origin(hint) is Literal:
                choice(name, value, get_args(hint))
