"""What users write, study files and parameters, as validated data; or one line that says what is wrong."""

import codecs
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from efcnlib.errors import UserError, shortened

LARGEST = 100_000  # bytes of a file that a user wrote
# One line: no control character, which would steer a terminal, and none that turns the direction of writing.
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
Text = Annotated[str, Field(pattern=ONE_LINE, max_length=1000)]  # whoever wrote it

# Windows shells write them. That of UTF-32 starts as that of UTF-16 does.
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32"}
BYTE_ORDER_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Model = TypeVar("Model")


class Frozen(BaseModel):
    """Immutable, validated, no unknown fields; numbers in text ("0.1") become numbers, truth values do not."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, field: ValidationInfo) -> object:
        kind, parts = _plain_type(cls, field), {"": value}
        if isinstance(value, dict) and is_dataclass(kind):
            parts = {f"{name}: ": part for name, part in value.items()}
        elif isinstance(value, list | tuple):
            parts = {f"{number}: ": part for number, part in enumerate(value)}
        for name, part in parts.items():
            if isinstance(part, bool) and kind is not bool:
                raise ValueError(f"{name}true and false are no numbers")
        return value


def absent(value: object) -> bool:
    """Whether a field stays out of what is written, and so out of keys: those of runs without it are as they were."""
    return value is None


def read_json(path: Path, what: str) -> dict[str, object]:
    """The one object that a JSON file holds; ``what`` names the file in the line that says what is wrong with it."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise UserError(f"{what} {path} is no file: give the name of one")
        text = path.read_bytes() if path.stat().st_size <= LARGEST else None
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path}: {getattr(error, 'strerror', None) or error}") from None
    if text is None:
        raise UserError(f"{what} {path} has {path.stat().st_size} bytes: {LARGEST} are allowed")
    try:
        content = pydantic_core.from_json(_utf8(text), allow_inf_nan=False)
    except ValueError as error:
        raise UserError(f"{what} {path} is not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{what} {path} holds {shortened(content)}: give one object, {{...}}")
    return content


def validated(model: type[Model], fields: dict[str, object]) -> Model:
    """A model from its fields.

    :param model: A pydantic model, or a dataclass of `efcnlib.settings`.
    :param fields: By name, as a user gave them.
    :raises UserError: For what pydantic rejects: one line with the field, the value and the reason.
    """
    try:
        return TypeAdapter(model).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        unknown = first["type"] == "extra_forbidden"  # else what is no identifier names an alternative of a type
        known = (
            str(part) if isinstance(part, int) or part.isidentifier() else shortened(part)
            for part in first["loc"]
            if unknown or isinstance(part, int) or part.isidentifier()
        )
        where = " " + ".".join(known) if first["loc"] else ""
        if first["type"] != "missing" and where:
            where += f" {shortened(first['input'])} is not allowed"
        reason = _fitting(" ".join(first["msg"].removeprefix("Value error, ").split()))
        if first.get("ctx", {}).get("pattern") == ONE_LINE:
            reason = "give one line, without control characters"
        raise UserError(f"{model.__name__.lower()}:{where and where + ':'} {reason[0].lower()}{reason[1:]}") from None


def _utf8(text: bytes) -> bytes:
    """A text as UTF-8, whichever byte-order mark it starts with; ValueError for UTF-16 without one."""
    for mark, name in BYTE_ORDER_MARKS.items():
        if text.startswith(mark):
            return text.decode(name).encode()
    if b"\0" in text[:2]:
        raise ValueError("it is UTF-16 without a byte-order mark: save it as UTF-8")
    return text


def _plain_type(model: type[BaseModel], field: ValidationInfo) -> object:
    """The type of a field, that beside None where it may be None."""
    kinds = {kind for kind in get_args(model.model_fields[field.field_name].annotation) if kind is not type(None)}
    return kinds.pop() if len(kinds) == 1 else model.model_fields[field.field_name].annotation


def _fitting(text: str, most: int = 300) -> str:
    """A reason, its middle left out where it quotes something long."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
