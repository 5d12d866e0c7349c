"""ImageNet on the command line: its archives unpacked, its folder checked."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from leadgrad.data import ImageNet
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.paper.options import Task, table_parser

SYNSETS = [f"n{1_440_000 + 7 * number:08d}" for number in range(1000)]
FIELDS = ("ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images")


def jpeg(seed):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def pack(files, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def source(tmp_path):
    """Two training images of each of two synsets, and four validation images."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = [(k + 1, synset, f"word {k}", 0, 2) for k, synset in enumerate(SYNSETS)]
    structure = np.array(rows, dtype=[(name, "O") for name in FIELDS]).reshape(-1, 1)
    meta = io.BytesIO()
    savemat(meta, {"synsets": structure})
    kit = "ILSVRC2012_devkit_t12/data"
    files = {
        f"{kit}/meta.mat": meta.getvalue(),
        f"{kit}/ILSVRC2012_validation_ground_truth.txt": b"3\n501\n3\n501\n",
    }
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(pack(files, "w:gz"))
    inner = {
        f"{SYNSETS[k]}.tar": pack({f"{SYNSETS[k]}_{n}.JPEG": jpeg(k + n) for n in (0, 1)})
        for k in (2, 500)
    }
    (folder / "ILSVRC2012_img_train.tar").write_bytes(pack(inner))
    images = {f"ILSVRC2012_val_{k:08d}.JPEG": jpeg(k) for k in range(1, 5)}
    (folder / "ILSVRC2012_img_val.tar").write_bytes(pack(images))
    return folder


def prepare(source, root):
    return main(["prepare", "imagenet", f"--source={source}", f"--root={root}"])


def verify(capsys, root, *options):
    status = main(["verify-data", str(root), *options])
    return status, capsys.readouterr().out.splitlines()


def test_prepare(source, tmp_path, capsys):
    root = tmp_path / "ready"
    assert prepare(source, root) == 0
    printed = capsys.readouterr().out
    assert f"8 images in {root}: 8 unpacked, 0 kept" in printed
    assert "not finished" not in printed
    assert ImageNet(root, image_size=8, resize=8).split("validation").labels.tolist() == [
        2, 2, 500, 500,
    ]  # fmt: skip
    assert prepare(source, root) == 0
    assert "0 unpacked, 8 kept" in capsys.readouterr().out


def test_a_damaged_archive_is_named_and_the_rest_unpacked(source, tmp_path, capsys):
    path = source / "ILSVRC2012_img_train.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    root = tmp_path / "ready"
    assert prepare(source, root) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"bad: {path}") and "again" in line for line in lines)
    assert lines[-1] == "not finished: the same command goes on from there"
    status, lines = verify(capsys, root)
    assert status == 1
    assert any("is not finished; run the same `leadgrad prepare" in line for line in lines)
    path.write_bytes(whole)
    assert prepare(source, root) == 0


def test_refusals_are_one_line(source, tmp_path, capsys):
    assert prepare(tmp_path, tmp_path / "ready") == 1
    assert "neither ILSVRC2012_img_train.tar nor" in capsys.readouterr().err
    (source / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    assert prepare(source, tmp_path / "ready") == 1
    assert "without which the validation images have no labels" in capsys.readouterr().err
    assert not (tmp_path / "ready").exists()


def test_a_part_of_the_set_is_checked(tmp_path, capsys):
    classes = tmp_path / "synsets.txt"
    classes.write_text("\n".join(SYNSETS))
    folder = tmp_path / "set" / "val" / SYNSETS[4]
    folder.mkdir(parents=True)
    (folder / "1.JPEG").write_bytes(jpeg(1))
    status, lines = verify(capsys, tmp_path / "set", f"--classes={classes}", "--decode")
    assert status == 0
    assert lines[0] == f"{tmp_path / 'set'}: checked as imagenet"
    assert lines[-1] == "0 problems, 2 notes"
    (folder / "2.JPEG").write_bytes(jpeg(2)[:300])
    status, lines = verify(capsys, tmp_path / "set", "--kind=imagenet")
    assert status == 1
    assert lines[-1] == "2 problems, 1 notes", "no class file, and a damaged file"
    assert any(f"problem: {folder / '2.JPEG'}: cannot be decoded" in line for line in lines)


def test_options_of_imagenet_are_refused_elsewhere(tmp_path, capsys):
    (tmp_path / "Area_1" / "office_1").mkdir(parents=True)
    for option, kinds in (("--decode", "imagenet and image-folder"), ("--classes=x", "imagenet\n")):
        assert main(["verify-data", str(tmp_path), option]) == 1
        name = option.split("=")[0]
        assert f"taken for s3dis-raw; {name} is for {kinds}" in capsys.readouterr().err


def test_a_folder_of_ones_own_images_is_checked(tmp_path, capsys):
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        (tmp_path / split / "cat" / "1.jpg").write_bytes(jpeg(1))
    status, lines = verify(capsys, tmp_path, "--decode")
    assert (status, lines[0]) == (0, f"{tmp_path}: checked as image-folder")
    bad = tmp_path / "test" / "cat" / "2.jpg"
    bad.write_bytes(jpeg(2)[:300])
    status, lines = verify(capsys, tmp_path)
    assert (status, lines[-1]) == (1, "1 problems, 0 notes")
    assert lines[1].startswith(f"problem: {bad}: cannot be decoded")


def test_a_missing_source_is_named_as_what_it_holds(capsys):
    for kind, content in (("imagenet", "archives"), ("s3dis", "raw scans")):
        assert main(["prepare", kind, "--source=/nowhere", "--root=/nowhere/ready"]) == 1
        assert f"there is no folder /nowhere; give the one that holds the {content}" in (
            capsys.readouterr().err
        )


@pytest.mark.parametrize(("kind", "split"), [("ImageNet", "tuning"), ("CIFAR10", "validation")])
def test_choices_are_made_on_the_split_that_is_set_aside_for_them(kind, split):
    parser = table_parser("leadgrad tune", "Choose", split=None)
    given = ["--victims={}", f"--data=leadgrad.data.{kind}", "--data.root=somewhere"]
    task = Task.of(parser, parser.parse_args(given))
    assert task.data["init_args"]["attack_split"] == split
