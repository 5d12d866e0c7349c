"""Parsers of the commands that take no class. Apart from the commands, whose imports take seconds.

The other commands' options are described in ``usage``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from leadgrad.pipelines.config.plain import PlainParser

KindName = Literal[
    "cifar10",
    "imagenet",
    "image-folder",
    "scannet-raw",
    "scannet",
    "s3dis-raw",
    "s3dis",
    "semantickitti",
]
"""Of a data folder."""


def verify_parser() -> PlainParser:
    """Of ``leadgrad verify``."""
    parser = PlainParser(prog="leadgrad verify", description="Recompute a run from its files")
    parser.add_argument("run_dir", type=str, help="Run directory of a finished `leadgrad attack`")
    return parser


def export_ply_parser() -> PlainParser:
    """Of ``leadgrad export-ply``."""
    parser = PlainParser(
        prog="leadgrad export-ply", description="Write a run's attacked scenes as PLY files"
    )
    parser.add_argument("run_dir", type=str, help="Run directory of a finished attack on scenes")
    parser.add_argument(
        "--out", type=str | None, default=None, help="Folder of the files; RUN_DIR/ply if not given"
    )
    return parser


def figure6_parser() -> PlainParser:
    """Of ``leadgrad figure 6``."""
    parser = PlainParser(
        prog="leadgrad figure 6",
        description="What LGM puts in the place of step functions, and its gradients: surrogates "
        "of gates, relation functions of voxels",
    )
    parser.add_argument(
        "--slopes", type=list[float], default=[0.5, 1.0, 2.0, 5.0], help="λ of gates' sigmoids"
    )
    parser.add_argument(
        "--voxel_slopes", type=list[float], default=[5.0, 10.0, 20.0, 40.0], help="λ of voxels'"
    )
    parser.add_argument(
        "--out", type=str, default="figure6.png", help="The picture, in its suffix's format"
    )
    return parser


def figure7_parser() -> PlainParser:
    """Of ``leadgrad figure 7``."""
    parser = PlainParser(
        prog="leadgrad figure 7",
        description="How often each gate executes for each class, before and after an attack under "
        "FGM and under LGM, with principal components; of masks their means too",
    )
    parser.add_argument("fgm_run", type=str, help="Run directory of an attack on images under FGM")
    parser.add_argument("lgm_run", type=str, help="One of the same attack under LGM")
    parser.add_argument(
        "--groups",
        type=str | None,
        default=None,
        help="YAML or JSON file of name to class names or numbers; ImageNet's 13 and CIFAR-10's 2 "
        "groups are known, few classes of other data are each a group",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="The picture, in its suffix's format, beside which a .csv gets the numbers; "
        "LGM_RUN/figure7.png if not given",
    )
    return parser


def figure_gates_parser() -> PlainParser:
    """Of ``leadgrad figure gates``."""
    parser = PlainParser(
        prog="leadgrad figure gates",
        description="What executes at each gate or choice before and after attacks on one victim, "
        "and the share of decisions that they changed",
    )
    parser.add_argument("runs", type=str, nargs="+", help="Run directories of attacks on images")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="The picture, in its suffix's format; gates.png of the first run if not given",
    )
    return parser


def figure9_parser() -> PlainParser:
    """Of ``leadgrad figure 9``."""
    parser = PlainParser(
        prog="leadgrad figure 9",
        description="A scene before and after an attack: from above and at a slant, whole and "
        "where its answers changed most",
    )
    parser.add_argument("run_dir", type=str, help="Run directory of a finished attack on scenes")
    parser.add_argument("--scene", type=int, default=0, help="Its position in the attacked split")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="The picture, in its suffix's format; RUN_DIR/figure9.png if not given",
    )
    return parser


def publish_parser() -> PlainParser:
    """Of ``leadgrad publish``."""
    parser = PlainParser(prog="leadgrad publish", description="Weights and card of a fit")
    parser.add_argument("run_dir", type=str, help="Directory of the finished fit")
    parser.add_argument("target", type=str, help="The weights file to write, zoo/NAME.safetensors")
    parser.add_argument("--root", type=str | None, default=None, help="Of the data set")
    parser.add_argument("--device", type=str, required=True, help="What the fit ran on, in words")
    parser.add_argument(
        "--published", type=float | None, default=None, help="Accuracy in the literature, percent"
    )
    parser.add_argument(
        "--checkpoint",
        type=Literal["last", "best"],
        default="last",
        help="After the last epoch, or after the one that did best on validation",
    )
    parser.add_argument(
        "--compute_share",
        type=float | None,
        default=None,
        help="Of a network of exits: choose its threshold on validation images so that it "
        "executes this share of its conditional compute",
    )
    parser.add_argument(
        "--half",
        type=bool,
        default=False,
        help="Write all but vectors as float16, half the bytes; the card is the rounded victim's",
    )
    return parser


def verify_data_parser() -> PlainParser:
    """Of ``leadgrad verify-data``."""
    parser = PlainParser(
        prog="leadgrad verify-data",
        description="Check a folder of CIFAR-10, ImageNet, images by class, ScanNet, S3DIS or "
        "SemanticKITTI",
    )
    parser.add_argument("root", type=str, help="The folder; of CIFAR-10 its parent will do too")
    parser.add_argument(
        "--kind", type=KindName | None, default=None, help="What it holds, if that does not show"
    )
    parser.add_argument(
        "--classes",
        type=str | None,
        default=None,
        help="ImageNet's class file, if it is not ROOT/classes.csv",
    )
    parser.add_argument(
        "--decode",
        action="store_true",
        help="Decode every image (hours for ImageNet), not only its header; bytes zeroed in the "
        "middle of a JPEG do not show even so",
    )
    return parser


def prepare_parser() -> PlainParser:
    """Of ``leadgrad prepare``."""
    parser = PlainParser(prog="leadgrad prepare", description="Prepare a data set")
    sets = parser.add_subcommands(dest="dataset")
    imagenet, scannet, s3dis = PlainParser(), PlainParser(), PlainParser()
    folders = {
        "ImageNet": (imagenet, "Folder of ILSVRC 2012's archives, not unpacked"),
        "ScanNet": (scannet, "Folder that holds scans/, or scene0000_00/ and so on"),
        "S3DIS": (s3dis, "Folder that holds Area_1/ and so on, or its parent"),
    }
    for name, (own, source) in folders.items():
        own.add_argument("--source", type=str, required=True, help=source)
        own.add_argument(
            "--root", type=str, required=True, help=f"Prepared folder, the root of {name}"
        )
    scannet.add_argument(
        "--names",
        type=str | None,
        default=None,
        help="File of the scans to prepare, one a line, as scannetv2_val.txt; all if not given",
    )
    sets.add_subcommand("imagenet", imagenet, help="ImageNet (ILSVRC 2012)")
    sets.add_subcommand("scannet", scannet, help="ScanNet v2")
    sets.add_subcommand("s3dis", s3dis, help="S3DIS")
    return parser


def demo_parser() -> PlainParser:
    """Of ``leadgrad demo``."""
    parser = PlainParser(prog="leadgrad demo", description="Train and attack on real digits")
    parser.add_argument(
        "--run_dir", type=str, default="runs/demo", help="Where everything is written"
    )
    parser.add_argument(
        "--short", action="store_true", help="Two rows, 100 digits: whether it works, not a result"
    )
    parser.add_argument(
        "--scene_victim",
        type=str,
        default="zoo/rooms_minkunet.safetensors",
        help="Published MinkUNet of the 3D part, which is left out without it",
    )
    parser.add_argument(
        "--dynconv",
        type=str,
        default="zoo/digits_dynconv14.safetensors",
        help="Published DynConv of the digits, whose columns are left out without it",
    )
    return parser


def doctor_parser() -> PlainParser:
    """Of ``leadgrad doctor``."""
    parser = PlainParser(
        prog="leadgrad doctor",
        description="What this machine has, which data is found, and what will be slow here",
    )
    parser.add_argument("--root", type=str, default="data", help="Folder to look for data in")
    return parser


def completion_parser() -> PlainParser:
    """Of ``leadgrad completion``."""
    parser = PlainParser(
        prog="leadgrad completion",
        description="Print a script that completes leadgrad's commands and options with the Tab "
        'key; in ~/.bashrc: eval "$(leadgrad completion bash)"',
    )
    parser.add_argument("shell", type=Literal["bash", "zsh", "fish"], help="Yours")
    return parser


PARSERS: dict[str, Callable[[], PlainParser]] = {
    "verify": verify_parser,
    "export-ply": export_ply_parser,
    "publish": publish_parser,
    "verify-data": verify_data_parser,
    "prepare": prepare_parser,
    "demo": demo_parser,
    "doctor": doctor_parser,
    "completion": completion_parser,
    "figure 6": figure6_parser,
    "figure 7": figure7_parser,
    "figure 9": figure9_parser,
    "figure gates": figure_gates_parser,
}
