"""Options that take one text, or several."""

from argparse import ArgumentTypeError

import pytest

from leadgrad.pipelines.paper.options import one_or_several


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("a", ["a"]),
        ("*/FGM", ["*/FGM"]),
        ("[a, b]", ["a", "b"]),
        (' ["*/FGM"]', ["*/FGM"]),
        ("[]", []),
        ("[8]", ["8"]),
        (["a"], ["a"]),
    ],
)
def test_what_is_taken(given, made):
    assert one_or_several(given) == made


@pytest.mark.parametrize("given", ["[*/FGM]", "[a", "", "[a, null]", "[{a: b}]", "[[a]]", None])
def test_what_is_refused(given):
    with pytest.raises(
        ArgumentTypeError, match=r"expected one text, or \[one, two\], each in quotes where"
    ):
        one_or_several(given)
