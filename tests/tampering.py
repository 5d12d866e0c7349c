"""Ways to tamper with a finished run, and which check of ``leadgrad verify`` must answer with what.

The run is one of an FGSM on half of the pixels: 12 samples in 3 batches. Whoever tampers also
corrects the note beside a batch, so that the file itself looks intact.
"""

import hashlib
import json
import shutil

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from leadgrad.attacks import PixelLinf
from leadgrad.pipelines.runs.directory import RunDirectory

UNIT = 1 / 255


def path(run: RunDirectory, batch: int, kind: str = "safetensors"):
    return run.batches / f"{batch:06d}.{kind}"


def write(run: RunDirectory, batch: int, data: bytes) -> None:
    """Replaces a record, and corrects its note."""
    path(run, batch).write_bytes(data)
    note = json.loads(path(run, batch, "json").read_text())
    note |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path(run, batch, "json").write_text(json.dumps(note))


def tensors(run: RunDirectory, batch: int) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path(run, batch), framework="pt") as file:
        return load_file(path(run, batch)), file.metadata()


def edit(run: RunDirectory, batch: int, name: str, change) -> None:
    """Replaces one tensor of a record by ``change`` of it."""
    content, metadata = tensors(run, batch)
    content[name] = change(content[name].clone()).contiguous()
    write(run, batch, save(content, metadata=metadata))


def edit_json(run: RunDirectory, name: str, change) -> None:
    content = json.loads((run.path / name).read_text())
    change(content)
    (run.path / name).write_text(json.dumps(content))


def at(*position, value):
    """A change that sets one element."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor[position] = value(tensor[position]) if callable(value) else value
        return tensor

    return change


def attacked_sample(run: RunDirectory) -> tuple[int, int]:
    """Batch and row of a sample that was attacked."""
    for batch in range(3):
        record = run.record(batch)
        moved = (record.adv_inputs != record.clean_inputs).flatten(1).any(1)
        if bool(moved.any()):
            return batch, int(moved.nonzero()[0])
    raise AssertionError("nothing was attacked")


def off_mask(run: RunDirectory) -> tuple[int, int]:
    mask = PixelLinf(8, valid_ratio=0.5).mask(torch.zeros(1, 3, 16, 16))
    row, column = (~mask[0, 0]).nonzero()[0].tolist()
    return row, column


def on_mask(run: RunDirectory) -> tuple[int, int]:
    mask = PixelLinf(8, valid_ratio=0.5).mask(torch.zeros(1, 3, 16, 16))
    row, column = mask[0, 0].nonzero()[0].tolist()
    return row, column


def one_unit_above_the_budget(run):
    clean = run.record(1).clean_inputs[0, 0, *on_mask(run)]
    step = 9 * UNIT if clean < 0.5 else -9 * UNIT
    edit(run, 1, "adv_inputs", at(0, 0, *on_mask(run), value=float(clean) + step))


def a_pixel_off_the_mask(run):
    clean = float(run.record(1).clean_inputs[0, 0, *off_mask(run)])
    step = UNIT if clean < 0.5 else -UNIT
    edit(run, 1, "adv_inputs", at(0, 0, *off_mask(run), value=clean + step))


def a_pixel_out_of_the_box(run):
    edit(run, 1, "clean_inputs", at(0, 0, *on_mask(run), value=2))
    edit(run, 1, "adv_inputs", at(0, 0, *on_mask(run), value=-UNIT))


def a_pixel_that_is_no_number(run):
    edit(run, 1, "adv_inputs", at(0, 0, *on_mask(run), value=torch.nan))


def another_label(run):
    """Of a sample that stays wrong for the accuracy: only the data set's digest tells."""
    edit(run, 2, "label", at(0, value=9))


def a_clean_pixel(run):
    edit(run, 0, "clean_inputs", at(0, 0, 0, 0, value=lambda level: level ^ 1))


def a_clean_pixel_between_levels(run):
    def change(levels):
        images = levels.float() / 255
        images[0, 0, 0, 0] += 0.2 * UNIT
        return images

    edit(run, 0, "clean_inputs", change)


def a_sample_twice(run):
    edit(run, 1, "index", at(1, value=4))


def two_samples_in_the_wrong_order(run):
    edit(run, 1, "index", lambda index: index.flip(0))


def a_batch_less(run):
    path(run, 1).unlink()
    path(run, 1, "json").unlink()


def a_record_less(run):
    path(run, 1).unlink()


def a_note_less(run):
    path(run, 1, "json").unlink()


def a_batch_more(run):
    shutil.copy(path(run, 0), path(run, 3))
    shutil.copy(path(run, 0, "json"), path(run, 3, "json"))


def a_shorter_record(run):
    path(run, 2).write_bytes(path(run, 2).read_bytes()[:-7])


def a_flipped_bit(run):
    data = bytearray(path(run, 2).read_bytes())
    data[-9] ^= 1
    path(run, 2).write_bytes(data)


def a_record_of_nothing(run):
    write(run, 2, b"not a record at all")


def a_record_without_labels(run):
    content, metadata = tensors(run, 2)
    del content["label"]
    write(run, 2, save(content, metadata=metadata))


def a_flipped_bit_of_the_weights(run):
    data = bytearray(run.weights.read_bytes())
    data[-3] ^= 1
    run.weights.write_bytes(data)


def no_weights(run):
    run.weights.unlink()


def another_adversarial_prediction(run):
    batch, row = attacked_sample(run)
    edit(run, batch, "adv_logits", at(row, value=lambda logits: logits.flip(0)))


def another_clean_prediction(run):
    edit(run, 0, "clean_logits", lambda logits: logits.flip(1))


def another_decision_under_attack(run):
    edit(run, 0, "adv_units", at(0, 0, value=lambda bits: bits ^ 128))


def another_clean_decision(run):
    edit(run, 0, "clean_units", at(0, 0, value=lambda bits: bits ^ 128))


def a_gate_more(run):
    content, _ = tensors(run, 0)
    write(run, 0, save(content, metadata={"unit_shapes": "[[], [], []]"}))


def images_of_another_size(run):
    edit(run, 0, "clean_inputs", lambda levels: levels[:, :, 1:])


def another_adversarial_image(run):
    """Within the budget, so that only what is computed from it differs."""
    batch, row = attacked_sample(run)
    clean = run.record(batch).clean_inputs[row]
    edit(run, batch, "adv_inputs", at(row, value=clean))


def another_accuracy(run):
    edit_json(run, "results.json", lambda results: results.update(adversarial_accuracy=1.0))


def another_digest(run):
    edit_json(run, "results.json", lambda results: results.update(digest="0" * 64))


def another_victim_in_the_results(run):
    def change(results):
        results["victim"]["init_args"]["depth"] = 110

    edit_json(run, "results.json", change)


def another_budget_in_the_results(run):
    def change(results):
        results["threat"]["init_args"]["eps_255"] = 4.0

    edit_json(run, "results.json", change)


def another_seed_in_the_results(run):
    edit_json(run, "results.json", lambda results: results["seed"].update(attack=3))


def another_precision_in_the_results(run):
    edit_json(run, "results.json", lambda results: results.update(precision="bfloat16"))


def another_data_set_in_the_results(run):
    edit_json(run, "results.json", lambda results: results["data"].update(dataset="CIFAR10"))


def another_version_in_the_results(run):
    edit_json(run, "results.json", lambda results: results["versions"].update(torch="2.0.0"))


def another_version_in_the_run(run):
    edit_json(run, "run.json", lambda header: header["fingerprint"].update(leadgrad="0.0.0"))


def another_configuration_in_the_run(run):
    def change(header):
        header["config"]["model"]["surrogate_precision"] = "bfloat16"

    edit_json(run, "run.json", change)


TAMPERED = [
    (a_sample_twice, "C23", "indices are not 0 to 11"),
    (two_samples_in_the_wrong_order, "C23", "indices are not 0 to 11"),
    (one_unit_above_the_budget, "C24", "batch 1: max |delta| is 9"),
    (a_pixel_off_the_mask, "C24", "batch 1: 1 values moved outside the valid pixels"),
    (a_pixel_out_of_the_box, "C24", "leave the box"),
    (a_pixel_that_is_no_number, "C24", "not finite"),
    (another_adversarial_prediction, "C25", "1 adv predictions differ"),
    (another_clean_prediction, "C25", "batch 0: 4 clean predictions differ"),
    (another_decision_under_attack, "C25", "batch 0: 1 adv gate decisions differ"),
    (another_clean_decision, "C25", "batch 0: 1 clean gate decisions differ"),
    (a_gate_more, "C25", "batch 0: 8 clean gate decisions differ"),
    (images_of_another_size, "C24", "budget, mask and box, exactly: cannot be computed"),
    (another_adversarial_image, "C25", "digest: reported"),
    (another_accuracy, "C25", "adversarial_accuracy: reported 1.0, expected"),
    (another_digest, "C25", "digest: reported '000000"),
    (a_batch_less, "C28", "batch 1: "),
    (a_record_less, "C28", "batch 1: "),
    (a_note_less, "C28", "batch 1: "),
    (a_batch_more, "C28", "batch 3 does not belong to a run of 3 batches"),
    (a_shorter_record, "C28", "000002.safetensors differs from what was written"),
    (a_flipped_bit, "C28", "000002.safetensors differs from what was written"),
    (a_record_of_nothing, "C28", "000002.safetensors is no record of a batch"),
    (a_record_without_labels, "C28", "000002.safetensors is no record of a batch"),
    (a_flipped_bit_of_the_weights, "C28", "victim.safetensors has SHA-256"),
    (no_weights, "C28", "victim.safetensors is missing"),
    (another_label, "C28", "clean images or labels have SHA-256"),
    (a_clean_pixel, "C28", "clean images or labels have SHA-256"),
    (a_clean_pixel_between_levels, "C28", "batch 0: clean images are no whole levels"),
    (another_victim_in_the_results, "C28", "victim.init_args.depth: reported 110, expected 8"),
    (another_budget_in_the_results, "C28", "threat.init_args.eps_255: reported 4.0, expected 8.0"),
    (another_seed_in_the_results, "C28", "seed.attack: reported 3, expected 0"),
    (another_precision_in_the_results, "C28", "precision: reported 'bfloat16'"),
    (another_data_set_in_the_results, "C28", "data.dataset: reported 'CIFAR10'"),
    (another_version_in_the_results, "C28", "2.0.0 in results.json"),
    (another_version_in_the_run, "C28", "leadgrad was 0.0.0 in the attack"),
    (another_configuration_in_the_run, "C28", "run.json: model.surrogate_precision"),
]
