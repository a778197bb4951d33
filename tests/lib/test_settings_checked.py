"""Settings check their values by themselves, as pydantic does where they are part of a study."""

import dataclasses

import pytest

from efcnlab.config.studies import load
from efcnlab.store.run_store import key_of
from efcnlib.errors import UserError
from efcnlib.landscape import StoppingCriterion
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser


@pytest.mark.parametrize(
    ("make", "value", "words"),
    [
        *((Optimiser, {"lr": value}, "greater than 0 and at most 100") for value in (0, -1, 101, "0.1", True, None)),
        *((Optimiser, {"lr": value}, "give a number") for value in (float("nan"), float("inf"), 10**400)),
        (Optimiser, {"momentum": 1.0}, "momentum 1.0 is not allowed: give a number at least 0 and less than 1"),
        (Optimiser, {"name": "adam", "momentum": 0.9}, "momentum 0.9 is for sgd: adam allows only 0"),
        (Optimiser, {"name": "lion"}, "unknown name 'lion': choose one of sgd, adam"),
        *((Engine, {"delay": value}, "choose one of 1, 2, 4, 8") for value in (True, 4.0, 3, "4")),
        *((Engine, {"graph": value}, "choose one of True, False, None") for value in ("no", 1, 0)),
        *((StoppingCriterion, {"window": value}, "give an integer at least 10") for value in (10.0, 9, "10")),
    ],
)
def test_a_wrong_value_is_named_in_a_line(make, value, words):
    with pytest.raises(UserError) as caught:
        make(**value)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_setting_in_a_study_is_refused_with_its_place():
    for value in (0, "fast", float("nan")):
        with pytest.raises(UserError, match=r"^study: optimiser\.lr .* is not allowed"):
            load("digits", optimiser={"lr": value})
    with pytest.raises(UserError, match=r"^study: optimiser .*momentum 0\.9 is for sgd"):
        load("digits", optimiser={"name": "adam", "momentum": 0.9})
    with pytest.raises(UserError, match=r"^study: optimiser\.rate "):
        load("digits", optimiser={"rate": 0.1})


def test_the_same_number_is_the_same_setting_and_the_same_key():
    assert Optimiser(lr=1) == Optimiser(lr=1.0)
    assert type(dataclasses.replace(Optimiser(), lr=1).lr) is float
    given = ({"lr": 1.0}, {"lr": 1}, {"lr": "1"}, Optimiser(lr=1))
    assert len({key_of(load("digits", optimiser=one).cnn(0)) for one in given}) == 1
