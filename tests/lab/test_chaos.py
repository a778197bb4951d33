"""A study survives kills and damage: the small form of `make chaos`."""

import random

import chaos


def test_a_study_whose_processes_are_killed_at_random_times_has_the_bytes_of_one_that_was_left_alone(tmp_path):
    study, chance = chaos.small_study(12), random.Random(0)
    result = chaos.kills(study, tmp_path, 8, chance, limit=240, computing=2, longest=1)
    assert result["kills"] >= 8
    assert result["kills_while_computing"] >= 2  # the others were killed while waiting, or between two runs
    assert result["files_different"] == []
    assert result["left_over"] == 0


def test_no_damage_to_a_finished_study_is_silently_used():
    with chaos.workplace() as folder:
        result = chaos.corruptions(chaos.small_study(4), folder, 36, random.Random(0), again=11)
    assert result["which"] == []
    assert result["noticed"] >= 30
    assert result["noticed"] + result["harmless"] == 36
    assert result["computed_again"] == 4  # after damage of four kinds
    assert result["computed_again_different"] == 0
