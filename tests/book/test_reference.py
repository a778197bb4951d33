"""What the reference takes from the code: the fields of settings, and what the commands say of themselves."""

import dataclasses

import pytest

from efcnbook.pages.reference import WIDTH, commands, fields, help_of
from efcnlab import cli
from efcnlab.config.path_methods import StringSettings
from efcnlab.config.study_settings import StudySettings
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser


@pytest.mark.parametrize("model", [StudySettings, StringSettings, Optimiser, Engine])
def test_every_field_of_a_settings_class_is_listed_once(model):
    names = (
        [field.name for field in dataclasses.fields(model)] if dataclasses.is_dataclass(model) else model.model_fields
    )
    assert [line.partition(":")[0] for line in fields(model)] == list(names)


def test_field_is_shown_with_default_bounds_and_comment():
    assert "relax_epochs: int = Field(ge=1, le=100_000)  # after embedding, of the control too" in fields(StudySettings)


def test_choices_are_written_out_where_the_source_names_them():
    assert fields(StudySettings)[5].startswith("precision: Literal['float32', 'tf32', 'bf16'] = ")
    assert "controls: tuple[Literal['control', 'tuned', 'lowered', 'elcn'], ...]" in "\n".join(fields(StudySettings))


def test_every_command_has_its_help():
    assert commands() == ["data", "run", "status", "show", "gc", "export", "import", "verify", "book", "bench"]
    for name in commands():
        assert help_of(name).startswith(f"usage: efcn {name} ")


def test_help_is_what_the_command_prints_but_for_broken_lines(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    assert help_of("run").split() == capsys.readouterr().out.split()
    assert max(map(len, help_of("run").splitlines())) <= WIDTH
