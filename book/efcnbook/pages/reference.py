"""An extension of Sphinx for the reference: the fields of settings, and what the commands say of themselves."""

import contextlib
import inspect
import io
import os
import re
import textwrap
from typing import Literal, get_args, get_origin, get_type_hints

from docutils import nodes
from docutils.parsers.rst import Directive
from pydantic import BaseModel
from sphinx.application import Sphinx

from efcnlab import cli
from efcnlib.settings import Settings

WIDTH = 68  # columns of the terminal that the help is laid out for: a page's width
CHOICES = re.compile(r"Literal\[[\w.()]+\]")
FIELD = re.compile(r"^    [a-z]\w*: .*", re.MULTILINE)


class Commands(Directive):
    """The help of ``efcn`` and of each of its commands, as they print it, in a section each."""

    def run(self) -> list[nodes.Node]:
        """A block of text, and the sections."""
        text = help_of()
        result = [nodes.literal_block(text, text, language="text")]
        for name in commands():
            title, text = f"efcn {name}", help_of(name)
            section = nodes.section(ids=[nodes.make_id(title)], names=[title])
            section += [nodes.title(title, title), nodes.literal_block(text, text, language="text")]
            self.state.document.note_implicit_target(section, section)
            result.append(section)
        return result


def commands() -> list[str]:
    """Names of the commands that ``efcn`` has, in the order in which its help lists them."""
    return re.search(r"\{(.*?)\}", help_of())[1].split(",")


def help_of(*names: str) -> str:
    """What ``efcn NAMES --help`` prints, its lines wrapped."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        cli.main([*names, "--help"])
    lines = (textwrap.wrap(line, WIDTH) or [""] for line in out.getvalue().splitlines())
    return "\n".join(part for wrapped in lines for part in wrapped).strip()


def fields(model: type[BaseModel | Settings]) -> list[str]:
    """The lines of source that give a settings class its fields: name, type, default, bounds, and what it means.

    Where the source names a tuple of choices, the choices themselves are written.
    """
    lines = [line.strip() for line in FIELD.findall(inspect.getsource(model))]
    hints = get_type_hints(model, include_extras=True)
    kinds = (hints[line.partition(":")[0]] for line in lines)
    return [CHOICES.sub(f"Literal{_choices(kind)}", line) for line, kind in zip(lines, kinds, strict=True)]


def _choices(kind: object) -> list:
    """What the first Literal within a type allows."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return next((found for part in get_args(kind) if (found := _choices(part))), [])


def _signature(app: Sphinx, what: str, name: str, thing: object, *_: object) -> tuple[str, str] | None:
    """Settings take their fields by name: listed below, not in the heading."""
    is_settings = inspect.isclass(thing) and issubclass(thing, BaseModel | Settings)
    return ("(**fields)", "") if is_settings else None


def _docstring(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Settings list their fields, above the example."""
    if inspect.isclass(thing) and issubclass(thing, BaseModel | Settings) and (found := fields(thing)):
        place = next((i for i, line in enumerate(lines) if line.startswith(">>>")), len(lines))
        block = ["", ".. code-block:: python", "", *(f"    {line}" for line in found), ""]
        lines[place:place] = block


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's hook."""
    os.environ["COLUMNS"] = str(WIDTH)  # the build is a process of its own
    app.add_css_file("reference.css")
    app.add_directive("efcn-commands", Commands)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _docstring)
    return {"parallel_read_safe": True}
