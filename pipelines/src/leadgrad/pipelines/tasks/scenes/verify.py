"""What ``leadgrad verify`` looks at in an attack on scenes (C26 to C28)."""

from __future__ import annotations

import hashlib

import torch

from leadgrad.attacks import BudgetError
from leadgrad.pipelines.attack.examining import CAUSE
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Examination, Examined
from leadgrad.pipelines.tasks.scenes.attempt import SceneAttempt, voxels_changed
from leadgrad.pipelines.tasks.scenes.records import SceneRun, scenes_of


def data(run: SceneRun, module: AttackModule) -> Examined:
    """C28: the saved clean points, features and labels are those that were attacked."""
    sha = hashlib.sha256()
    names = run.results()["names"]
    for name, record in zip(names, scenes_of(run), strict=True):
        sha.update(f"{name} {len(record.label)}\n".encode())
        for values in (record.clean_inputs, record.features, record.label):
            sha.update(values.contiguous().numpy().tobytes())
    expected = run.run()["fingerprint"]["data"]["sha256"]
    problems = []
    if sha.hexdigest() != expected:
        problems.append(f"scenes have SHA-256 {sha.hexdigest()}, the data set has {expected}")
    return sha.hexdigest()[:12], problems


def budget(run: SceneRun, module: AttackModule) -> Examined:
    """C26: the same points, finite, each within its cube, as saved."""
    problems, worst = [], 0.0
    for number, record in enumerate(scenes_of(run)):
        try:
            module.attack.threat.check(record.adv_inputs, record.clean_inputs)
        except BudgetError as error:
            problems.append(f"scene {number}: {error}")
            continue
        moved = (record.adv_inputs.double() - record.clean_inputs.double()).abs()
        worst = max(worst, float(moved.max()))
    return f"max |delta| = {worst:.6g} m", problems


def answers(run: SceneRun, module: AttackModule) -> Examined:
    """C27: the exact victim's answers to the saved points, and the voxels that changed."""
    problems, points = [], 0
    for record in run.records():
        attempt = SceneAttempt(module, record.batch())
        sides = [attempt.tried(x) for x in (attempt.inputs, record.adv_inputs)]
        sizes = [len(scene.label) for scene in record.scenes]
        clean, adv = (
            torch.split_with_sizes(side.logits.argmax(1).to(torch.uint8), sizes) for side in sides
        )
        for scene, *answered, voxels in zip(
            record.scenes, clean, adv, voxels_changed(*sides), strict=True
        ):
            number, saved = int(scene.index), (scene.clean_answers, scene.adv_answers)
            for name, side, before in zip(("clean", "adv"), answered, saved, strict=True):
                if changed := int((side != before).sum()):
                    problems.append(f"scene {number}: {changed} {name} answers differ{CAUSE}")
            if not torch.equal(voxels, scene.voxels):
                problems.append(f"scene {number}: other voxels were born or died than saved")
        points += sum(sizes)
    return f"{points:,} points", problems


SCENE_CHECKS: tuple[Examination, ...] = (
    ("C28", "points, features and labels of the data set", data),
    ("C26", "budget of the saved points, exactly", budget),
    ("C27", "answers to the saved points, and voxels", answers),
)
