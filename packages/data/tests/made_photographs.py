"""Small made-up photographs, in files and folders."""

import numpy as np
from PIL import Image


def photograph(width, height, seed=0):
    """Smooth colours under noise, so that every filter and every pixel's place shows."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (7, 5, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height)), np.int64)
    noisy = smooth + random.integers(-40, 41, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def write_photograph(path, seed=0, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph(*size, seed=seed).convert(mode).save(path, format="JPEG", quality=90)
    return path


def write_folders(root, synsets, *, train=0, val=0):
    """`train` and `val` images of each synset, named as the official ones are."""
    seed = 0
    for folder, count in (("train", train), ("val", val)):
        for number in range(count):
            for synset in synsets:
                name = f"{synset}_{number}" if folder == "train" else f"ILSVRC2012_val_{seed:08d}"
                width = 40 + seed % 5 * 7
                write_photograph(root / folder / synset / f"{name}.JPEG", seed, (width, 33))
                seed += 1
    return root


def write_class_list(path, synsets):
    """All 1,000 synsets in order, of which these are some, as text."""
    filler = (f"n{number:08d}" for number in range(1_440_800, 1_500_000, 40))
    wanted = sorted({*synsets, *list(filler)[: 1000 - len(synsets)]})
    path.write_text("".join(f"{synset} name of {synset}\n" for synset in wanted))
    return {synset: wanted.index(synset) for synset in synsets}
