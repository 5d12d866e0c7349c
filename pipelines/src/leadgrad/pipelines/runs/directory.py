"""A run directory: finished batches are files, so a run can be killed, resumed and verified.

    run.json                 fingerprint, configuration, command and versions, written first
    victim.safetensors       the attacked weights
    batches/000012.*         one batch's record (.safetensors) and its size and SHA-256 (.json)
    results.json, report.html, tensorboard/     the numbers and pages, once all batches are finished
    decisions/000012.safetensors                one batch's decisions alone, if they are asked for

A batch counts as finished when its .json, which is written after the record, matches the record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor

from leadgrad.pipelines.config.instantiate import imported
from leadgrad.victims.weights.atomic import write_atomically

NAMED = 8
"""Differing keys that a refusal names."""


_FORMER = {
    "images": "leadgrad.pipelines.tasks.ImageClassification",
    "scenes": "leadgrad.pipelines.tasks.PointSegmentation",
}
"""Kinds of data of the runs that do not name theirs."""


class RunError(ValueError):
    """A run directory that does not fit the command, or is damaged; nothing in it was changed."""


class Record(Protocol):
    """What one attacked batch leaves behind."""

    @property
    def index(self) -> Tensor:
        """Position of each sample in the attacked split. Shape: (B,), int64."""

    @property
    def adv_inputs(self) -> Tensor:
        """The attack's result. Shape: (B, ...)."""

    def batch(self) -> dict[str, Tensor]:
        """The clean batch, as the data served it."""

    def to_bytes(self) -> bytes:
        """As safetensors."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what ``to_bytes`` wrote; ``RecordError`` if that is not what the file holds."""


AnyRecord = TypeVar("AnyRecord", bound=Record)


class RunDirectory(Generic[AnyRecord]):
    """One attack's files; a fit has some of them.

    Args:
        path: The directory; made when the run is opened.
        kind: Class of its records; None: as run.json tells.
    """

    def __init__(self, path: str | os.PathLike[str], kind: type[AnyRecord] | None = None) -> None:
        self.path = Path(path)
        self.batches = self.path / "batches"
        self.kind = kind

    @property
    def weights(self) -> Path:
        """The attacked weights."""
        return self.path / "victim.safetensors"

    def open(self, run: Mapping[str, Any]) -> None:
        """Starts the run or takes it up again.

        Args:
            run: Content of run.json; ``run["fingerprint"]`` decides whether this is the same run.

        Raises:
            RunError: If the directory holds another run; the differing keys are named. Or if its
                run.json is damaged, or missing although there are batches.
        """
        if self.begun():
            _compare(
                self.run()["fingerprint"], json.loads(json.dumps(run["fingerprint"])), self.path
            )
        elif self.numbers(".json"):
            raise RunError(
                f"{self.batches} holds batches, but without run.json nothing tells of which "
                "attack; restore that file, delete the batches, or give another --run_dir"
            )
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write("run.json", json.dumps(run, indent=2).encode())

    def begun(self) -> bool:
        """Whether some run has this directory."""
        return (self.path / "run.json").exists()

    def run(self) -> dict[str, Any]:
        """Content of run.json.

        Raises:
            RunError: If there is none, or it is damaged.
        """
        content = self._json("run.json", "restore it, or give another --run_dir")
        if not isinstance(content.get("fingerprint"), dict):
            raise RunError(
                f"{self.path / 'run.json'} is damaged: it has no fingerprint; restore it, or give "
                "another --run_dir"
            )
        return content

    def results(self) -> dict[str, Any]:
        """Content of results.json.

        Raises:
            RunError: If there is none (the run has not finished), or it is damaged.
        """
        return self._json("results.json", "delete it and start the attack's command again")

    def write(self, name: str, data: bytes) -> None:
        """Writes a file of the run directory atomically."""
        write_atomically(self.path / name, data)

    def add(self, batch: int, record: AnyRecord, seconds: float) -> None:
        """Writes one batch's record, then the note that it is finished."""
        self.batches.mkdir(exist_ok=True)
        data = record.to_bytes()
        write_atomically(self._record(batch), data)
        note = {
            "batch": batch,
            "samples": len(record.index),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "seconds": round(seconds, 6),
        }
        write_atomically(self._note(batch), json.dumps(note).encode())

    def numbers(self, suffix: str) -> list[int]:
        """Numbers of the batches that have a file of this suffix, ascending."""
        stems = (path.stem for path in self.batches.glob(f"[0-9]*{suffix}"))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def finished(self) -> set[int]:
        """Numbers of the batches whose files are whole; a damaged one will be attacked again."""
        return {batch for batch in self.numbers(".json") if self.problem(batch) is None}

    def problem(self, batch: int) -> str | None:
        """What is wrong with a batch's files, or None."""
        try:
            note = json.loads(self._note(batch).read_bytes())
            expected = (note["bytes"], note["sha256"])
            data = self._record(batch).read_bytes()
        except OSError as error:
            return f"batch {batch}: {error}"
        except (ValueError, LookupError, TypeError) as error:
            return f"batch {batch}: {self._note(batch)} is no note of a batch ({error!r})"
        if (len(data), hashlib.sha256(data).hexdigest()) != expected:
            return f"batch {batch}: {self._record(batch)} differs from what was written"
        return None

    def record(self, batch: int) -> AnyRecord:
        """One batch.

        Raises:
            RecordError: If the file is no record of a batch.
        """
        kind: type[AnyRecord] = self.kind or imported(self.task_path()).record
        return kind.read(self._record(batch))

    def task_path(self) -> str:
        """Class path of the kind of data that was attacked, as run.json has it."""
        run = self.run()
        return str(run["task"]) if "task" in run else _FORMER[run.get("inputs", "images")]

    def records(self) -> Iterator[AnyRecord]:
        """All batches, in order."""
        return map(self.record, self.numbers(".safetensors"))

    def seconds(self) -> float:
        """Time spent on attacking, summed over batches, whichever process or session did them."""
        notes = (json.loads(self._note(batch).read_bytes()) for batch in self.numbers(".json"))
        return float(sum(note["seconds"] for note in notes))

    def written(self) -> bool:
        """Whether the numbers and the page of a finished run are there."""
        return all((self.path / name).exists() for name in ("results.json", "report.html"))

    def require(self, count: int, parts: str) -> None:
        """Raises ``RunError`` unless all ``count`` batches, called ``parts``, are finished."""
        done = len(self.finished())
        if done < count:
            raise RunError(
                f"{self.path} has {done} of {count} {parts}; start the same command again, without "
                "a limit on the trainer's batches"
            )

    def require_whole(self) -> None:
        """Raises ``RunError`` if a batch's files are not what was written."""
        for batch in self.numbers(".safetensors"):
            if (problem := self.problem(batch)) is not None:
                raise RunError(
                    f"{problem}; delete {self.path / 'results.json'} and start the attack's "
                    "command again, which attacks that batch once more"
                )

    def sweep(self) -> None:
        """Removes what killed processes left half-written; only when no other one is writing."""
        for folder in (self.path, self.batches):
            for leftover in folder.glob(".*.????????"):
                leftover.unlink(missing_ok=True)

    def _record(self, batch: int) -> Path:
        return self.batches / f"{batch:06d}.safetensors"

    def _note(self, batch: int) -> Path:
        return self.batches / f"{batch:06d}.json"

    def _json(self, name: str, remedy: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_bytes())
        except FileNotFoundError as error:
            raise RunError(
                f"{self.path} has no {name}; give the --run_dir of a finished `leadgrad attack`"
            ) from error
        except ValueError as error:
            raise RunError(f"{self.path / name} is damaged: {error}; {remedy}") from error
        if not isinstance(content, dict):
            raise RunError(f"{self.path / name} is damaged: it holds no JSON object; {remedy}")
        return content


def digest(records: Iterator[Record]) -> str:
    """SHA-256 over the adversarial inputs in sample order."""
    sha = hashlib.sha256()
    for record in records:
        sha.update(record.adv_inputs.contiguous().numpy().data)
    return sha.hexdigest()


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    if "code" not in old and "code" in new:
        new = {**new, "code": "known"}  # one line, not one for each module
    before, after = flatten(old), flatten(new)
    differing = [
        f"{key}: {before.get(key, 'absent')!r} there, {after.get(key, 'absent')!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    if len(differing) > NAMED:
        differing[NAMED:] = [f"and {len(differing) - NAMED} more keys"]
    if differing:
        raise RunError(
            f"{path} holds another run ({'; '.join(differing)}); give another --run_dir, "
            "or the configuration of that run to go on with it"
        )
