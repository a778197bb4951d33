"""Settings of a study that came later leave the keys of the runs without them as they were."""

import pytest

from efcnlab.config.studies import load
from efcnlab.store.run_store import key_of

KEYS = {  # as they were before there were any settings
    ("quick", 6): {
        "cnn": "9bca493e33eb118e74060ce2cfc9fdc2cc4c6926366b4267e971c6c2b8b61502",
        "efcn": "89279a62211da48f84afc831445432ff03fe064c8463589a09f55266cdf4deda",
        "path": "868adbe57e2868a1f15f60a12398ac2759dd89f93bd590496c0a2da0849b3e5d",
    },
    ("vanilla-cifar10-narrow-rate", 11): {
        "cnn": "6a3a9ee0317274226a76365ce40dfcbeaf7e9ff2e6a0360db4766e75b86fcaa0",
        "efcn": "49d129d82898b3f8efe5531eb4dcb6ab34e5a53cab15a24a29f008e7a06d237d",
        "path": "ca6782b1ff8e5e5dcd01c23b357e122d5a2b24077a9d89f4471fe140f40eaebc",
    },
}


@pytest.mark.parametrize(("name", "tw"), KEYS)
def test_keys_are_what_they_were(name, tw):
    study = load(name, path_times=(tw,))
    runs = {"cnn": study.cnn(0), "efcn": study.relaxed("efcn", tw, 0), "path": study.path("string", tw, 0)}
    assert {kind: key_of(run) for kind, run in runs.items()} == KEYS[name, tw]


def test_a_switch_that_is_on_changes_the_keys_of_those_it_concerns():
    base, augmented = load("digits"), load("digits", augment=True)
    assert key_of(augmented.cnn(0)) != key_of(base.cnn(0))
    assert key_of(augmented.fcn(0)) != key_of(base.fcn(0))
    assert key_of(load("digits", augment=False).cnn(0)) == key_of(base.cnn(0))
