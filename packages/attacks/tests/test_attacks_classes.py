"""Attacks, goals and threat models are final: what they share is in abstract bases."""

import inspect

import pytest

from leadgrad import attacks
from leadgrad.attacks import Attack, Goal, ThreatModel


@pytest.mark.parametrize("base", [Attack, Goal, ThreatModel])
def test_nothing_concrete_inherits_something_concrete(base):
    concrete = {
        each
        for each in vars(attacks).values()
        if inspect.isclass(each) and issubclass(each, base) and not inspect.isabstract(each)
    }
    assert len(concrete) >= 2
    for each in concrete:
        assert not concrete.intersection(each.__mro__[1:]), each
