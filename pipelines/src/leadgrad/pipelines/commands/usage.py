"""What the commands that take classes accept, told without importing a class.

Their real parsers know all of Lightning's options and each class's arguments, after seconds of
imports. A test holds these tables against them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

WIDTH = 100


@dataclass(frozen=True)
class Usage:
    """A command's options and how it is called.

    Args:
        call: The command line, in general.
        purpose: What the command does.
        options: Meaning by name. The trainer's own, which are Lightning's, are not among them.
        example: Command lines and files, as they would be typed.
        required: Options without which the command does not start.
        either: Options of which one at least must be given.
        remedy: What to give where one of them is missing; empty: their names say it.
        weights: Options that name a weights file, which must be there.
        cards: Options that name published weights, beside which a card must be; with their default:
            a path, a list or a mapping of them.
    """

    call: str
    purpose: str
    options: Mapping[str, str]
    example: str
    required: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    remedy: str = ""
    weights: tuple[str, ...] = ()
    cards: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """What ``--help`` prints."""
        width = max(map(len, self.options)) + 4
        lines = [f"usage: {self.call}", "", self.purpose, ""]
        for name, meaning in self.options.items():
            required = " (required)" if name in self.required else ""
            lines += textwrap.wrap(
                f"{meaning}{required}",
                WIDTH,
                initial_indent=f"  --{name}".ljust(width + 2),
                subsequent_indent=" " * (width + 2),
            )
        return "\n".join([*lines, "", "Example:", "", textwrap.indent(self.example.strip(), "  ")])

    def tops(self) -> set[str]:
        """First parts of all options."""
        return {name.split(".")[0] for name in self.options}


CONFIGURED = {
    "config": "YAML or JSON file with any of these options, a dot is a level; several are merged. "
    "Own files beside it, or in the working directory, are found: class_path: my_file.Net",
    "print_config": "Print all settings, defaults too, as such a file, and exit",
    "help": "Print this and exit",
    "help_all": "Print all options, those of Lightning's trainer and all classes too, and exit",
}
_SEED = {"seed_everything": "Seed of what draws from global generators; default 0"}
_TRAINER = {
    "trainer": "Lightning's Trainer: trainer.accelerator, .devices, .strategy, .precision and so on"
}
CLASSES = "Its arguments are {0}.init_args.NAME, or --{0}.NAME; --{0}.help CLASS lists them"

_ATTACKED = {
    "model": "YAML or JSON file with the settings below model",
    "model.network": "Class of the victim, one of leadgrad.victims or your own. "
    + CLASSES.format("model.network"),
    "model.weights": "File of its weights; without it the network stays as it was built",
    "model.attack": "Class of the attack, of leadgrad.attacks",
    "model.method": "What the gradient sees of the decisions: leadgrad.victims.FGM (default), "
    "LGM, VoxelLGM and so on",
    "model.prepare": "Attack a frozen copy with batch norm folded; default true",
    "model.surrogate_precision": "Of the attack's gradient: float32 (default) or bfloat16",
    "model.execution": "masked (default), or skip: leave out what is not executed",
    "data": "Class of the attacked data, of leadgrad.data or your own. " + CLASSES.format("data"),
}

ATTACK = Usage(
    "leadgrad attack --config FILE --run_dir DIR [--OPTION VALUE ...]",
    "Attack a victim and write a run directory. The same command resumes a killed attack.",
    {
        **CONFIGURED,
        "run_dir": "Directory of this run; resumed if it exists",
        **_ATTACKED,
        **_TRAINER,
        **_SEED,
        "checks": "Sanity checks after the attack: fast (default), full or off",
        "allow_failed_checks": "Exit with 0 instead of 3 where a check failed; default false",
        "tuning": "JSON file that tells how slope and step size were chosen, for check C21",
        "twin": "Published weights of the victim's static twin, for C19 (--checks full)",
        "save_decisions": "Write each gate's decisions before and after, and the classes, to "
        "RUN_DIR/decisions too, a file per batch; of images, of a finished run too. Default false",
    },
    """
leadgrad attack --config my.yaml --run_dir runs/mine --trainer.accelerator cpu

with this my.yaml:

model:
  network: {class_path: leadgrad.victims.DynConv, init_args: {depth: 32}}
  weights: zoo/dynconv32.safetensors
  attack:
    class_path: leadgrad.attacks.IFGSM
    init_args: {threat: {class_path: leadgrad.attacks.PixelLinf, init_args: {eps_255: 8}}}
  method: {class_path: leadgrad.victims.LGM}
data: {class_path: leadgrad.data.CIFAR10, init_args: {root: data, limit: 100}}
""",
    required=("model.network", "model.attack", "data", "run_dir"),
    weights=("model.weights",),
)

SWEEP = Usage(
    "leadgrad sweep --config FILE --run_dir DIR [--OPTION VALUE ...]",
    "Attack a victim at several budgets, by several attacks, under several methods, and compare.",
    {
        **CONFIGURED,
        "run_dir": "Of the table and of its runs; finished ones are not run again",
        **_ATTACKED,
        "eps": "Budgets, in the threat's own unit; default that of the configuration",
        "attacks": "Classes of leadgrad.attacks, as [FGSM,IFGSM], or nodes; default the "
        "configuration's",
        "methods": "Classes of leadgrad.victims, or nodes; default [FGM,LGM]. Others are compared "
        "with the first",
        "slopes": 'Adds LGM with a sigmoid of each, "[0.1,1,10]"',
        "trainer": "Arguments of Lightning's Trainer",
        **_SEED,
        "checks": "Of each run: fast (default), full or off",
    },
    'leadgrad sweep --config my.yaml --eps "[1,2,4,8]" --attacks "[FGSM,IFGSM]" '
    "--run_dir runs/sweep",
    required=("model.network", "model.attack", "data", "run_dir"),
    weights=("model.weights",),
)
_FIT_OPTIONS = {
    **CONFIGURED,
    "run_dir": "Directory of this fit",
    "model": "Class of the training, such as leadgrad.victims.training.skipnet.SkipNetClassifier, "
    "with the network among its arguments. " + CLASSES.format("model"),
    "data": "Class of the data, of leadgrad.data or your own. " + CLASSES.format("data"),
    **_TRAINER,
    **_SEED,
    "weights": "Weights to start from or to validate",
    "backbone": "Static weights to start from: the option-B twin's for an adaptive network, whose "
    "gates start untrained; a shallower one's for a ResNet or a SkipNet, whose added blocks start "
    "as identities",
}
FIT = Usage(
    "leadgrad fit --config FILE --run_dir DIR [--OPTION VALUE ...]",
    "Train a victim. The same command resumes a killed fit.",
    _FIT_OPTIONS,
    """
leadgrad fit --config configs/train/digits_skipnet.yaml --run_dir runs/skipnet
leadgrad fit --config configs/train/digits_skipnet.yaml --run_dir runs/2 --trainer.max_epochs=2
""",
    required=("model", "data", "run_dir"),
    weights=("weights", "backbone"),
)
VALIDATE = Usage(
    "leadgrad validate --config FILE --run_dir DIR [--weights FILE] [--OPTION VALUE ...]",
    "Measure the clean accuracy of --weights, or of the finished fit in --run_dir.",
    _FIT_OPTIONS,
    """
leadgrad validate --config configs/train/digits_skipnet.yaml --run_dir runs/skipnet
""",
    required=("model", "data", "run_dir"),
    weights=("weights", "backbone"),
)

VICTIMS = {
    "victims": 'Columns and their published weights: "{SkipNet: zoo/mine.safetensors}", or '
    "--victims.NAME zoo/mine.safetensors beside the default ones; null leaves one out",
    "data": "Class of the images; default leadgrad.data.CIFAR10. " + CLASSES.format("data"),
    "limit": "The split's first images only",
    "convention": "What a unit of ε is: doubled (default; 2/255, as in the paper) or pixel (1/255)",
    "rows": 'Such as "[FGSM-4-100,IFGSM-8-5]"; else all of the table, for tune of table 1',
}
ZOO = {"victims": "{SkipNet: zoo/skipnet38.safetensors, DynConv: zoo/dynconv32.safetensors}"}
TUNE = Usage(
    "leadgrad tune [--OPTION VALUE ...]",
    "Choose slopes and step sizes on validation images.",
    {
        "help": CONFIGURED["help"],
        **VICTIMS,
        "split": "The images to choose on; default validation, of ImageNet tuning",
        "slopes": 'To try, "[0.1,1,10]"; default 12 from 0.0001 to 40',
        "step_sizes_255": "Tune iterative attacks' step too, FGM's with as many tries as LGM's",
        "out": "Directory of the record; default runs/tune",
    },
    "leadgrad tune --data.root data --limit 2000 --out runs/tune",
    cards=ZOO,
)
FIGURE_2 = Usage(
    "leadgrad figure 2 [--OPTION VALUE ...]",
    "Draw a logit along a line through a gate's decision, with what FGM and LGM see of it.",
    {
        "help": CONFIGURED["help"],
        "victim": "Published weights; default zoo/digits_dynconv14.safetensors",
        "data": "Class of its images; default leadgrad.data.Digits. " + CLASSES.format("data"),
        "split": "Of the images; default test",
        "images": "Its first ones, among which an example is looked for; default 100",
        "slope": "λ of LGM's sigmoid; default 5",
        "step_255": "Of both methods, in pixel levels; default 1",
        "out": "The picture, in its suffix's format, with a .csv beside it; default figure2.png",
    },
    "leadgrad figure 2 --victim zoo/skipnet38.safetensors --data CIFAR10 --data.root data",
    cards={"victim": "zoo/digits_dynconv14.safetensors"},
)
FIGURE_USAGES = {"2": FIGURE_2}
"""Of the figures whose options name classes; the others' parsers are in ``arguments``."""
USAGES = {"attack": ATTACK, "sweep": SWEEP, "fit": FIT, "validate": VALIDATE, "tune": TUNE}
