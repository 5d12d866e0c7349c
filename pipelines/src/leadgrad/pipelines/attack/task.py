"""What one kind of data is to the pipelines: images to classify, scenes to segment, or one's own.

A kind is one class. Its datamodules name it, ``task = "my_file.Boxes"``, and the predict loop, run
directory, checks, verification, report and publishing ask it for what depends on the kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol

from jinja2 import Template
from lightning.pytorch import Callback
from torch import nn

from leadgrad.attacks import Attack
from leadgrad.pipelines.attack.attempt import Attempt, Batch
from leadgrad.pipelines.config.instantiate import imported
from leadgrad.pipelines.runs.directory import AnyRecord, RunDirectory, RunError

if TYPE_CHECKING:
    from torch import Tensor

    from leadgrad.pipelines.attack.module import AttackModule

Examined = tuple[str, list[str]]
"""A value to print, and what is wrong."""

Examination = tuple[str, str, Callable[[RunDirectory[Any], Any], Examined]]
"""Number of a check of ``leadgrad verify``, what it is about, and how it is made of intact files.

The function gets the run and its AttackModule."""

Rows = list[tuple[str, str]]
"""Names and values, for people."""


class Scores(Protocol):
    """What is known of the batches that this process has attacked so far."""

    def update(self, record: Any) -> None:
        """Adds a batch's record."""

    def curves(self) -> tuple[dict[str, float], int]:
        """TensorBoard's value of each curve, in percent, and the samples so far."""


class Difference(NamedTuple):
    """Between what two attacks on the same samples left.

    Attributes:
        points: Of the first less the second; negative: the first is stronger.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        p: Two-sided, of no difference; None where the comparison gives none.
    """

    points: float
    low: float
    high: float
    p: float | None

    @property
    def words(self) -> str:
        """With its interval, where there is one, as tables show it."""
        between = "" if isnan(self.low) else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{self.points:+.2f}{between}"

    @property
    def p_words(self) -> str:
        """As tables show it."""
        return "" if self.p is None else "< 1e-6" if self.p < 1e-6 else f"{self.p:.2g}"


class Outcome(ABC):
    """What an attack left, of all samples together."""

    @property
    @abstractmethod
    def value(self) -> float:
        """In percent."""

    @property
    @abstractmethod
    def interval(self) -> tuple[float, float]:
        """Of 95 %, in percent; NaN where the samples are too few for one."""

    @property
    def interval_words(self) -> str:
        """As tables show it."""
        low, high = self.interval
        return "–" if isnan(low) else f"{low:.2f}–{high:.2f}"

    @abstractmethod
    def minus(self, other: Outcome) -> Difference:
        """Compared with another attack on the same samples."""


@dataclass(frozen=True)
class Clean:
    """What the exact victim does on a split's clean samples.

    Args:
        accuracy: Entry of the card.
        cost: What it computes there, of the card too; None where nothing is known.
    """

    accuracy: dict[str, Any]
    cost: dict[str, Any] | None = None


@dataclass(frozen=True)
class Bounded:
    """Small attacks with the goal, loss and kind of budget of another one, for C16 to C18.

    Args:
        budgets: By their budget in words, rising; of one step.
        single: One step, in the attack's budget.
        many: Several steps, in the same.
        noise: Random moves of that budget.
        search: A search without gradients; None where there is none for this kind of data.
    """

    budgets: Mapping[str, Attack]
    single: Attack
    many: Attack
    noise: Attack
    search: Attack | None


@dataclass(frozen=True)
class Probes:
    """Small attacks beside another one.

    Args:
        unbounded: With (nearly) no budget to keep, for C15.
        bounded: The others; or why there are none, in words.
    """

    unbounded: Attack
    bounded: Bounded | str


class Task(ABC, Generic[AnyRecord]):
    """A kind of data. Has no state; an instance is made wherever one is needed."""

    inputs: ClassVar[str]
    """What the samples are, in the plural, as run.json has it."""

    sample: ClassVar[str]
    """What messages call one."""

    parts: ClassVar[str]
    """What messages call the batches."""

    numbers_check: ClassVar[str]
    """Number of the check that all of results.json is computed again (C25, C27)."""

    record: ClassVar[type[Any]]
    """Class of one batch's record."""

    counted_as: ClassVar[str]
    """What is left after an attack, in percent: "accuracy", "mIoU"."""

    keeps_decisions: ClassVar[bool] = False
    """Whether a record holds each gate's decisions, so that ``decisions`` can be asked."""

    # Batches

    @abstractmethod
    def first(self, data: Any, split: str, count: int) -> Batch:
        """The first samples of a split, as the data serves them; fewer where there are fewer.

        Args:
            data: A datamodule of this kind.
            split: One of its splits.
            count: Number of samples.
        """

    @abstractmethod
    def select(self, batch: Batch, chosen: Tensor) -> Batch:
        """The batch of some of its samples, numbered anew. ``chosen`` is (S,), bool."""

    @abstractmethod
    def checked(self, batches: Iterator[Batch]) -> Batch:
        """The samples that the sanity checks are made on, of a run's first clean batches."""

    @abstractmethod
    def trial(self, data: Any) -> list[Batch]:
        """Small batches that a victim is tried on before the work, of different sizes if it can."""

    @abstractmethod
    def require(self, module: AttackModule, data: Any) -> None:
        """Refuses a victim, an attack or data of which no attack of this kind can be made.

        Raises:
            ValueError: With what was expected.
        """

    @abstractmethod
    def check(self, batch: Batch) -> str:
        """The range of a clean batch in words, for check C1.

        Raises:
            ValueError: If it is not what the kind's table of batches says.
        """

    @abstractmethod
    def logits(self, network: nn.Module, batch: Batch) -> Tensor:
        """A network's logits (R, K) for a clean batch."""

    # The attack

    @abstractmethod
    def attempt(self, module: AttackModule, batch: Batch) -> Attempt[AnyRecord]:
        """An attack on one batch, not yet begun."""

    @abstractmethod
    def probes(self, attack: Attack) -> Probes:
        """Small attacks beside this one."""

    # Numbers, words and pages

    @abstractmethod
    def scores(self, module: AttackModule) -> Scores:
        """Running scores, at their start."""

    @abstractmethod
    def measure(self, run: RunDirectory[AnyRecord], module: AttackModule) -> dict[str, Any]:
        """The measured part of results.json, from the saved batches and nothing else.

        What every report and table reads of it: ``digest`` (``runs.directory.digest`` of the
        records), ``wall_s``, ``cost`` (``attack.results.cost``) and ``architecture_change``, of
        which ``percent`` is the headline. The rest is the kind's own.
        """

    @abstractmethod
    def outcome(self, run: RunDirectory[AnyRecord]) -> Outcome:
        """What a finished attack left."""

    @abstractmethod
    def found(self, results: Mapping[str, Any]) -> tuple[int, int]:
        """Rows that the victim gets right before the attack, and all that count."""

    def names(self, data: Any) -> dict[str, Any]:
        """What results.json holds of the attacked data besides its manifest."""
        return {}

    @abstractmethod
    def rows(self, results: Mapping[str, Any]) -> Rows:
        """What was measured, as (name, value) rows for terminal and page alike."""

    @abstractmethod
    def threat_words(self, threat: Mapping[str, Any]) -> str:
        """A budget in words."""

    @abstractmethod
    def page(
        self, run: RunDirectory[AnyRecord], results: Mapping[str, Any], data: Any
    ) -> tuple[str | Template, dict[str, Any]]:
        """The report's template, and what it shows beyond every report.

        The template is the name of one of the package's, or a ``jinja2.Template`` of one's own.
        """

    @abstractmethod
    def examinations(self) -> tuple[Examination, ...]:
        """What ``leadgrad verify`` looks at besides the files and the configuration."""

    def decisions(self, record: AnyRecord) -> dict[str, Tensor]:
        """A batch's decisions before and after the attack, for ``--save_decisions``.

        Asked of kinds with ``keeps_decisions`` only.
        """
        raise NotImplementedError

    # Publishing and training

    @abstractmethod
    def clean(self, network: nn.Module, data: Any, split: str) -> Clean:
        """Runs a victim, prepared for attack, on all of a split."""

    @abstractmethod
    def clean_line(self, split: str, accuracy: Mapping[str, Any]) -> str:
        """One split of a card, for the terminal."""

    def cost_rows(self, cost: Mapping[str, Any]) -> Rows:
        """What a victim computes on clean samples, of its card, for the terminal."""
        return [(name, str(value)) for name, value in cost.items()]

    def curves(self, data: Any) -> list[Callback]:
        """Callbacks of a fit that show more than every fit does."""
        return []


def task_of(data: Any) -> Task[Any]:
    """The kind that a datamodule names.

    Raises:
        RunError: If it names none.
    """
    path = getattr(data, "task", None)
    if not isinstance(path, str):
        raise RunError(
            f"attacks need an ImageDataModule or a SceneDataModule, got {type(data).__name__}; of "
            "a kind of your own it has to name the class: task = 'my_file.MyTask'"
        )
    return named_task(path)


def named_task(path: str) -> Task[Any]:
    """The kind of this class path.

    Raises:
        ClassPathError: If there is no such class.
        RunError: If it is no kind of data.
    """
    made = imported(path)
    if not (isinstance(made, type) and issubclass(made, Task)):
        raise RunError(f"{path} is no leadgrad.pipelines.attack.task.Task")
    task: Task[Any] = made()
    return task


def task_of_run(run: RunDirectory[Any]) -> Task[Any]:
    """The kind of data that a run attacked, as its run.json says."""
    return named_task(run.task_path())
