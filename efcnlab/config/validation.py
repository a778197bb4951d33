"""What users write, study files and parameters, as validated data; or one line that says what is wrong."""

from pathlib import Path
from typing import TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from efcnlib.errors import UserError, shortened

LARGEST = 100_000  # bytes of a file that a user wrote

Model = TypeVar("Model")


class Frozen(BaseModel):
    """Immutable, validated, no unknown fields; numbers in text ("0.1") become numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def absent(value: object) -> bool:
    """Whether a field stays out of what is written, and so out of keys: those of runs without it are as they were."""
    return value is None


def read_json(path: Path, what: str) -> dict[str, object]:
    """The one object that a JSON file holds; ``what`` names the file in the line that says what is wrong with it."""
    try:
        text = path.read_bytes() if path.stat().st_size <= LARGEST else None
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path}: {getattr(error, 'strerror', None) or error}") from None
    if text is None:
        raise UserError(f"{what} {path} has {path.stat().st_size} bytes: {LARGEST} are allowed")
    try:
        content = pydantic_core.from_json(text, allow_inf_nan=False)
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
        known = (
            str(part) if isinstance(part, int) or part.isidentifier() else shortened(part) for part in first["loc"]
        )
        where = " " + ".".join(known) if first["loc"] else ""
        if first["type"] != "missing" and where:
            where += f" {shortened(first['input'])} is not allowed"
        reason = _fitting(" ".join(first["msg"].removeprefix("Value error, ").split()))
        raise UserError(f"{model.__name__.lower()}:{where and where + ':'} {reason[0].lower()}{reason[1:]}") from None


def _fitting(text: str, most: int = 300) -> str:
    """A reason, its middle left out where it quotes something long."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
