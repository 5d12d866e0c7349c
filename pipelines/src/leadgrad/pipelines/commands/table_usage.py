"""What the commands that measure tables accept, told without importing a class."""

from __future__ import annotations

from dataclasses import replace

from leadgrad.pipelines.commands.usage import CLASSES, CONFIGURED, VICTIMS, ZOO, Usage

_OUT = {"out": "Directory of the table and of its cells, each of them a run; default runs/{}"}
_NOTHING = '"[]" attacks nothing, and prints what has finished'
_IMAGES = {
    "help": CONFIGURED["help"],
    **VICTIMS,
    "split": "The attacked images; default heldout",
    "static": "Static nets to show beside; default [zoo/resnet32b.safetensors]",
    "tuning": "leadgrad tune's record; else slopes are those of the authors' documentation",
    "ablations": 'Rows to add, of "[hard,constant,pair,mid,twice,standard,masks]"',
    "cells": 'Patterns: "[DynConv/FGSM-*/LGM*]", with quotes inside where they begin with *: '
    "'[\"*/FGM\"]'; " + _NOTHING,
    "batch_size": "Default 250",
    "processes": "Of each attack; default 1",
    "checks": "Of each run: full, fast (default) or off",
    "accelerator": "Lightning's; default auto",
    "publish": "Path without suffix, to write the table to once more, without links to its runs",
    "out": _OUT["out"].format("table1, or tablestrong"),
}
_SCENES = {
    "help": CONFIGURED["help"],
    "victim": "Published weights; default zoo/rooms_minkunet.safetensors, of 5 "
    "zoo/streets_cylinder3d.safetensors",
    "data": "Class of the scenes; default leadgrad.data.SyntheticRooms, of 5 leadgrad.data."
    "SyntheticStreets. " + CLASSES.format("data"),
    "limit": "Its first scenes only",
    "budgets": 'ε: 3, 4, 6 and 7 in voxel edges, "[0.25,0.5,1]"; 5 in metres, '
    '"[0.01,0.02,0.05,0.1]"',
    "methods": 'Rows to measure, "[Random,FGM,LGM]"; an unknown one lists the table\'s',
    "steps": "Evaluations, of all methods",
    "checks": "Of each run: full, fast (default) or off",
    "accelerator": "Lightning's; default auto",
    "out": _OUT["out"].format("scenes, which the tables share"),
}
IMAGE_TABLE = Usage(
    "leadgrad table 1|strong [--OPTION VALUE ...]",
    "Measure Table I, or the stronger attacks, again. Finished cells are not run again.",
    _IMAGES,
    "leadgrad table 1 --data.root data --tuning runs/tune/tuning.json",
    cards={**ZOO, "static": "[zoo/resnet32b.safetensors]"},
)
IMAGENET_TABLE = replace(
    IMAGE_TABLE,
    call='leadgrad table 2 --victims "{...}" --data CLASS [--OPTION VALUE ...]',
    purpose="Measure Table II again. Finished cells are not run again.",
    options={
        **_IMAGES,
        "data": "Class of the images. " + CLASSES.format("data"),
        "victims": 'Columns and their published weights: "{SkipNet: mine.safetensors, DynConv: '
        'other.safetensors}"',
        "split": "The attacked images; default validation",
        "static": "Static nets to show beside; default none",
        "tuning": "leadgrad tune's record; else slopes are those of the authors' documentation, "
        "which has none for I-FGSM",
        "batch_size": "Default 16",
        "out": _OUT["out"].format("table2"),
    },
    example='leadgrad table 2 --victims "{DynConv: zoo/digits_dynconv14.safetensors}" '
    "--data leadgrad.data.Digits",
    required=("victims", "data"),
    remedy="table 2 attacks networks of ImageNet, of which the zoo has none; give your own, each "
    "with the card that leadgrad publish writes beside it, and their data: --victims "
    '"{SkipNet: skipnet101.safetensors, DynConv: dynconv101.safetensors}" --static '
    '"[resnet101.safetensors]" --data CLASS --data.root FOLDER',
    cards={"victims": "{}", "static": "[]"},
)
SCENE_TABLE = Usage(
    "leadgrad table 3|4|5|6|7 [--OPTION VALUE ...]",
    "Measure one of the paper's tables of point clouds again. Finished cells are not run again.",
    _SCENES,
    'leadgrad table 3 --limit 2 --methods "[FGM,LGM]"',
    cards={"victim": "zoo/rooms_minkunet.safetensors"},
)
LIDAR_TABLE = replace(SCENE_TABLE, cards={"victim": "zoo/streets_cylinder3d.safetensors"})
DEFENCES = Usage(
    'leadgrad table defences --victims "[...]" [--OPTION VALUE ...]',
    "Measure what freezing their decisions overstates of adversarially trained adaptive networks. "
    "Finished cells are not run again.",
    {
        "help": CONFIGURED["help"],
        "victims": 'Published weights, "[zoo/mine.safetensors]"',
        "rdi_net": "Weights of RDI-Net's authors, which leadgrad does not have",
        "thresholds": "RDI-Net's other entropies beside 0.8 nats: FGM, LGM and Standard alone",
        "data": "Class of the images; default leadgrad.data.CIFAR10. " + CLASSES.format("data"),
        "split": "The attacked images; default test",
        "limit": "Its first images only",
        "eps_255": "In pixel levels; default 8",
        "evaluations": "Gradients of each attack; default 100",
        "budget": "Gradients of Standard; default 1000",
        "slope": "λ of LGM, chosen on other images; default 4",
        "cells": "Patterns of victim/attack, with quotes inside where they begin with *: "
        "'[\"*/lgm*\"]'; " + _NOTHING,
        "batch_size": "Default 128",
        "processes": _IMAGES["processes"],
        "checks": _IMAGES["checks"],
        "accelerator": _IMAGES["accelerator"],
        "publish": _IMAGES["publish"],
        "out": _OUT["out"].format("table-defences"),
    },
    'leadgrad table defences --victims "[zoo/digits_dynconv14.safetensors]" --data Digits',
    either=("victims", "rdi_net"),
    remedy="give published weights, each with the card that leadgrad publish writes beside it, and "
    'their data: --victims "[zoo/digits_dynconv14.safetensors]" --data Digits',
    weights=("rdi_net",),
    cards={"victims": "[]"},
)
FAMILIES = Usage(
    'leadgrad table families --victims "[...]" [--OPTION VALUE ...]',
    "Measure adaptive families side by side: attacks on accuracy and on compute, with frozen and "
    "leading gradients. Finished cells are not run again.",
    {
        **{name: DEFENCES.options[name] for name in ("help", "victims", "data")},
        "split": _IMAGES["split"],
        "limit": DEFENCES.options["limit"],
        "eps_255": "On accuracy, in pixel levels; default 1",
        "compute_eps_255": "On compute, in pixel levels; default 8",
        "evaluations": "Gradients of I-FGSM and APGD, even; default 20",
        "compute_evaluations": "Gradients of each attack on compute; default 50",
        "budget": "Gradients of Standard; default 100",
        "slope": DEFENCES.options["slope"],
        "cells": "Patterns of victim/attack, with quotes inside where they begin with *: "
        "'[\"*/apgd*\"]'; " + _NOTHING,
        **{
            name: DEFENCES.options[name]
            for name in ("batch_size", "processes", "checks", "accelerator", "publish")
        },
        "out": _OUT["out"].format("table-families"),
    },
    'leadgrad table families --victims "[zoo/digits_dynconv14.safetensors]" --data Digits '
    "--split test",
    required=("victims",),
    remedy=DEFENCES.remedy,
    cards={"victims": "[]"},
)
BOARD = Usage(
    'leadgrad board [--add "[mine.safetensors]"] [--OPTION VALUE ...]',
    "Published victims side by side: their decisions frozen, and the worst case. A victim is taken "
    "where no check fails and both its runs verify.",
    {
        "help": CONFIGURED["help"],
        "add": "Weights with cards; without, the page is written again",
        "board": "Path of the page, without suffix; default docs/results/board",
        **{
            name: DEFENCES.options[name]
            for name in ("data", "split", "limit", "eps_255", "batch_size", "processes")
        },
        "checks": "Of each run: fast (default) or full",
        "evaluations": "Gradients with frozen decisions; default 100",
        "budget": DEFENCES.options["budget"],
        "accelerator": _IMAGES["accelerator"],
        "out": "Directory of the runs; default runs/board",
    },
    'leadgrad board --add "[zoo/digits_dynconv14.safetensors]" --data Digits '
    "--board runs/board/page",
    cards={"add": "[]"},
)
TABLE_USAGES = {
    **dict.fromkeys(("1", "strong"), IMAGE_TABLE),
    **dict.fromkeys(("3", "4", "6", "7"), SCENE_TABLE),
    "2": IMAGENET_TABLE,
    "5": LIDAR_TABLE,
    "defences": DEFENCES,
    "families": FAMILIES,
}
