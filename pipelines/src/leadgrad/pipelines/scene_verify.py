"""``leadgrad verify`` of an attack on scenes: what is checked of its files (C23, C26 to C28)."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from leadgrad.attacks import BudgetError
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.rundir import flatten
from leadgrad.pipelines.scene_attack import voxelizer_of
from leadgrad.pipelines.scene_records import SceneDirectory, SceneRecord
from leadgrad.pipelines.scene_results import measure_scenes
from leadgrad.pipelines.verifying import CAUSE, Examined, differences, indices
from leadgrad.victims.change import voxel_changes


def data(run: SceneDirectory, module: AttackModule) -> Examined:
    """C28: the saved clean points, colours and labels are those that were attacked."""
    sha = hashlib.sha256()
    names = run.results()["names"]
    for name, record in zip(names, run.records(), strict=True):
        sha.update(f"{name} {len(record.label)}\n".encode())
        for values in (record.clean_inputs, record.color, record.label):
            sha.update(values.contiguous().numpy().tobytes())
    expected = run.run()["fingerprint"]["data"]["sha256"]
    problems = []
    if sha.hexdigest() != expected:
        problems.append(f"scenes have SHA-256 {sha.hexdigest()}, the data set has {expected}")
    return sha.hexdigest()[:12], problems


def budget(run: SceneDirectory, module: AttackModule) -> Examined:
    """C26: the same points, finite, each within its cube, as saved."""
    problems, worst = [], 0.0
    for number, record in enumerate(run.records()):
        try:
            module.attack.threat.check(record.adv_inputs, record.clean_inputs)
        except BudgetError as error:
            problems.append(f"scene {number}: {error}")
            continue
        moved = (record.adv_inputs.double() - record.clean_inputs.double()).abs()
        worst = max(worst, float(moved.max()))
    return f"max |delta| = {worst:.6g} m", problems


def answers(run: SceneDirectory, module: AttackModule) -> Examined:
    """C27: the exact victim's answers to the saved points, and the voxels that changed."""
    problems, points = [], 0
    voxelizer = voxelizer_of(module.victim)
    for number, record in enumerate(run.records()):
        for side in ("clean", "adv"):
            changed = int(
                (
                    _answers(module, record, getattr(record, f"{side}_inputs"))
                    != getattr(record, f"{side}_answers")
                ).sum()
            )
            if changed:
                problems.append(f"scene {number}: {changed} {side} answers differ{CAUSE}")
        before, after = (voxelizer.occupied(x) for x in (record.clean_inputs, record.adv_inputs))
        if not torch.equal(voxel_changes(before, after, voxelizer.levels), record.voxels):
            problems.append(f"scene {number}: other voxels were born or died than saved")
        points += len(record.label)
    return f"{points:,} points", problems


def _answers(module: AttackModule, record: SceneRecord, coords: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = module.victim(coords, record.color.float() / 255)
    return logits.argmax(1).to(torch.uint8)


def numbers(run: SceneDirectory, module: AttackModule) -> Examined:
    """C27: every number of results.json again, from integer counts."""
    voxel_m = voxelizer_of(module.victim).voxel_m
    again = flatten(json.loads(json.dumps(measure_scenes(run, voxel_m))))
    return f"{len(again)} numbers", differences(run.results(), again)


SCENE_CHECKS = (
    ("C23", "every scene once", indices),
    ("C28", "points, colours and labels of the data set", data),
    ("C26", "budget of the saved points, exactly", budget),
    ("C27", "answers to the saved points, and voxels", answers),
    ("C27", "every number of results.json", numbers),
)
"""Number of the check, what it is about, and how it is made of intact files."""
