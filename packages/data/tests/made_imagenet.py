"""A small made-up download of ImageNet: its two archives and the development kit."""

import io
import tarfile
from functools import cache

import numpy as np
from made_photographs import photograph

WNIDS = tuple(f"n{1_440_000 + 7 * number:08d}" for number in range(1000))
# As in the real kit, its numbers are in another order than the synsets.
NUMBERS = {synset: (37 * place) % 1000 + 1 for place, synset in enumerate(WNIDS)}


def jpeg(seed):
    out = io.BytesIO()
    photograph(40 + seed % 9, 30, seed).save(out, "JPEG")
    return out.getvalue()


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def packed(files, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            add(archive, name, content)
    return out.getvalue()


@cache
def meta(synsets=WNIDS, train_images=3):
    """MATLAB's structure: the classes, and two synsets above them."""
    from scipy.io import savemat

    kind = [
        ("ILSVRC2012_ID", "O"),
        ("WNID", "O"),
        ("words", "O"),
        ("gloss", "O"),
        ("num_children", "O"),
        ("children", "O"),
        ("wordnet_height", "O"),
        ("num_train_images", "O"),
    ]
    rows = sorted((NUMBERS[synset], synset) for synset in synsets)
    entries = [
        (number, synset, f"word, {synset}", "what it is", 0, np.zeros(0), 0, train_images)
        for number, synset in rows
    ]
    entries += [
        (1001 + k, f"n{k:08d}", "above", "all", 2, np.array([1, 2]), 3, 0) for k in range(2)
    ]
    structure = np.array(entries, dtype=kind).reshape(-1, 1)
    out = io.BytesIO()
    savemat(out, {"synsets": structure})
    return out.getvalue()


@cache
def devkit(truth, content=None):
    files = {
        "ILSVRC2012_devkit_t12/readme.txt": b"x",
        "ILSVRC2012_devkit_t12/data/meta.mat": meta() if content is None else content,
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }
    return packed(files, "w:gz")


def write_download(source, *, synsets=(WNIDS[2], WNIDS[700], WNIDS[999]), train=3, val=7):
    """`train` images of each of some synsets, and `val` of all, of these synsets in turn."""
    source.mkdir(parents=True, exist_ok=True)
    inner = {
        f"{synset}.tar": packed({f"{synset}_{k}.JPEG": jpeg(100 * place + k) for k in range(train)})
        for place, synset in enumerate(synsets)
    }
    (source / "ILSVRC2012_img_train.tar").write_bytes(packed(inner))
    images = {f"ILSVRC2012_val_{k + 1:08d}.JPEG": jpeg(1000 + k) for k in range(val)}
    (source / "ILSVRC2012_img_val.tar").write_bytes(packed(images))
    truth = [synsets[k % len(synsets)] for k in range(val)]
    lines = "".join(f"{NUMBERS[synset]}\n" for synset in truth)
    (source / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit(lines))
    return truth
