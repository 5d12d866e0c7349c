"""What a command can refuse, or answer, before the seconds in which torch is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from leadgrad.pipelines.commands.table_usage import BOARD, TABLE_USAGES
from leadgrad.pipelines.commands.usage import FIGURE_USAGES, USAGES, Usage
from leadgrad.pipelines.config.nearest import suggestion_of_top
from leadgrad.pipelines.config.own_files import options


def check_early(command: str, args: Sequence[str]) -> None:
    """Refuses unknown options, missing ones and missing files; prints a command's help.

    Whatever takes a class to know is left to the command.

    Args:
        command: Its name.
        args: Those after it.

    Raises:
        SystemExit: With status 0 after the help, 2 after an error of the command line.
        ValueError: If a file or folder is not what the command needs.
        FileNotFoundError: If it is missing.
    """
    usage = BOARD if command == "board" else USAGES.get(command)
    if command == "table" and args:
        usage, args = TABLE_USAGES.get(args[0]), args[1:]
    elif command == "figure" and args and args[0] in FIGURE_USAGES:
        usage, args = FIGURE_USAGES[args[0]], args[1:]
    if usage is not None:
        _check_usage(command, usage, args)
    elif command == "figure" and args:
        _check_paths(f"figure {args[0]}", args[1:])
    elif command not in ("table", "figure"):
        _check_paths(command, args)


def _check_usage(command: str, usage: Usage, args: Sequence[str]) -> None:
    names = [name for name, _ in options(args)]
    if "help" in names or "-h" in args:
        print(usage.text())
        raise SystemExit(0)
    given = _given(usage, args)
    for name in given:
        if name.split(".")[0] not in usage.tops() | {"help_all"}:
            raise _refused(suggestion_of_top(name, list(usage.options)))
    if any(name.split(".")[-1] in ("help", "help_all", "print_config") for name in names):
        return  # a page is asked for, not a run
    missing = [key for key in usage.required if not _is_given(key, given)]
    if usage.either and not any(_is_given(key, given) for key in usage.either):
        missing.append(" or ".join(usage.either))
    if missing:
        remedy = f"; {usage.remedy}" if usage.remedy else ""
        raise _refused(f"the following arguments are required: {', '.join(missing)}{remedy}")
    for name in usage.weights:
        if isinstance(path := given.get(name), str) and path != "null":
            _require_weights(path)
    if command == "validate" and given.get("weights") in (None, "null"):
        _require_weights(str(Path(str(given["run_dir"])) / "weights.safetensors"))
    for name, default in usage.cards.items():
        for path in _card_paths(given, name, default):
            _require_card(path)
    if command == "table":  # an attack on scenes has better words for what it cannot use
        _require_tuning(given.get("tuning"))


def _given(usage: Usage, args: Sequence[str]) -> dict[str, Any]:
    """Values by dotted key, of command line and configuration files, the last of each key."""
    given: dict[str, Any] = {}
    for name, value in options(args):
        if name == "config" and "config" in usage.options and value is not None:
            given.update(_keys(_configuration(value)))
        else:
            given[name] = value
    return given


def _configuration(value: str) -> Mapping[str, Any]:
    """Content of a configuration, a file's or as it is given."""
    try:
        is_file = os.path.isfile(value)  # unlike Path's, False where a whole configuration is given
        content = yaml.safe_load(Path(value).read_bytes() if is_file else value)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise _refused(f"{value} is no YAML: {error.problem}{where}") from error
    except (yaml.YAMLError, OSError) as error:
        raise _refused(f"{value} cannot be read: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if isinstance(content, Mapping):
        return content
    if is_file:
        raise _refused(
            f"{value} is no configuration: it holds {content!r}, expected model:, data: ..."
        )
    raise _refused(f"there is no configuration file {value}; give the path of one as --config")


def _keys(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys of the first two levels, dotted."""
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        else:
            yield str(key), value


def _is_given(key: str, given: Mapping[str, Any]) -> bool:
    """Whether the key itself is there, a key below it, or a file for a key above it."""
    return any(
        name == key or name.startswith(f"{key}.") or key.startswith(f"{name}.") for name in given
    )


FINISHED = {
    **dict.fromkeys(("verify", "export-ply", "figure 9"), ("run_dir",)),
    "figure 7": ("fgm_run", "lgm_run"),
    "figure gates": ("runs",),
}
"""Options that name the directory of a finished attack, or several."""


def _require_finished(path: str) -> None:
    for name in ("run.json", "results.json"):
        if not (Path(path) / name).exists():
            raise FileNotFoundError(
                f"{path} has no {name}; give the --run_dir of a finished `leadgrad attack`"
            )


def _check_paths(command: str, args: Sequence[str]) -> None:
    from leadgrad.pipelines.commands.arguments import PARSERS

    if command not in PARSERS:
        return  # no figure of that name, which the command says
    chosen = PARSERS[command]().parse_args(list(args))
    for option in FINISHED.get(command, ()):
        named = chosen[option]
        for path in named if isinstance(named, list) else [named]:
            _require_finished(path)
    if command == "figure 7" and chosen.groups is not None and not Path(chosen.groups).is_file():
        raise FileNotFoundError(
            f"there is no file {chosen.groups}; give one of groups, as {{animals: [cat, dog]}}"
        )
    if command == "publish":
        if Path(chosen.target).suffix != ".safetensors":
            raise ValueError(f"the target must end in .safetensors, got {chosen.target}")
        _require_folder(chosen.run_dir, "fit")
        if not (Path(chosen.run_dir) / "training.json").exists():
            raise FileNotFoundError(
                f"{chosen.run_dir} holds no finished fit; start its command again"
            )
    elif command == "verify-data":
        _require_folder(chosen.root, "data")
    elif command == "prepare":
        content = "archives" if chosen.dataset == "imagenet" else "raw scans"
        _require_folder(chosen[chosen.dataset].source, content)


def _require_folder(path: str, content: str) -> None:
    if not Path(path).is_dir():
        raise FileNotFoundError(f"there is no folder {path}; give the one that holds the {content}")


def _require_weights(path: str) -> None:
    if not Path(path).exists():
        raise FileNotFoundError(
            f"no checkpoint at {path}; give the path of an existing weights file"
        )


def _require_card(weights: str) -> None:
    card = Path(weights).with_suffix(".json")
    for path in (card, Path(weights)):
        if not path.exists():
            raise FileNotFoundError(
                f"{card} is no card of a published victim, or not with its weights: there is no "
                f"{path}; leadgrad publish writes both"
            )


def _require_tuning(path: Any) -> None:
    if isinstance(path, str) and path != "null" and not Path(path).is_file():
        raise FileNotFoundError(f"{path} is no tuning record: there is no such file")


def _card_paths(given: Mapping[str, Any], name: str, default: str) -> list[str]:
    """The paths of an option that takes one, several, or several by name; without null."""
    value = given.get(name, default)
    try:
        parsed = yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise _refused(f"--{name} {value} is no YAML; write it as --help shows it") from error
    if isinstance(parsed, Mapping):
        own = {key: one for key, one in given.items() if key.startswith(f"{name}.")}
        named = {f"{name}.{key}": one for key, one in parsed.items()}
        parsed = list({**named, **own}.values())
    paths = parsed if isinstance(parsed, list) else [parsed]
    return [str(one) for one in paths if one and one != "null"]


def _refused(message: str) -> SystemExit:
    """After the message: as the command's own parser ends."""
    print(f"error: {message}\n(--help lists the options)", file=sys.stderr)
    return SystemExit(2)
