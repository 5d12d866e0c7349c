"""Lightning without what no user can act on; its warnings stay, as do everyone else's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("lightning.pytorch", "lightning.fabric")
"""Loggers of remarks on devices; what a run was made with is in its results."""


def ignore_warnings() -> None:
    """Filters two warnings out."""
    # Workers do not pay for image sets that are held in memory as bytes
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning 2.6's own call of a name that torch 2.15 deprecates
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


@contextmanager
def quiet() -> Iterator[None]:
    """Also a decorator, of what programs call; afterwards all is as it was."""
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    with warnings.catch_warnings():
        ignore_warnings()
        try:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(max(level, logging.WARNING))
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
