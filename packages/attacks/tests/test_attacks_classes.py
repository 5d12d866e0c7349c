"""Attacks, goals and threat models are final: what they share is in abstract bases."""

import inspect

import pytest

from leadgrad.attacks import Attack, Goal, ThreatModel, diverse


def families(base):
    """All classes of this package below a base."""
    found = [base]
    for each in found:
        found += [one for one in each.__subclasses__() if one.__module__.startswith("leadgrad.")]
    return set(found)


@pytest.mark.parametrize("base", [Attack, Goal, ThreatModel])
def test_nothing_concrete_inherits_something_concrete(base):
    concrete = {each for each in families(base) if not inspect.isabstract(each)}
    assert len(concrete) >= 2
    assert base is not Attack or diverse.DIFGSM in concrete
    for each in concrete:
        assert not concrete.intersection(each.__mro__[1:]), each
