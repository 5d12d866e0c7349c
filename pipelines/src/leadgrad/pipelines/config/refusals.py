"""A parser's refusal, which goes through each class on the way down, as one line."""

from __future__ import annotations

import re
import sys

from leadgrad.pipelines.config.nearest import NEAREST, near_name

_KEY = re.compile(r'Parser key "(?P<key>[^"]+)":?$')
_CLASS = re.compile(r"Problem with given class_path '(?P<path>[\w.]+)':?$")
_BARE = re.compile(r"Expected a dot import path string: (?P<name>\S+)")
_ABSTRACT = re.compile(r"Expected an instantiatable class, but (?P<path>[\w.]+) is abstract")
_NO_FILE = re.compile(r"Expected a path but (?P<given>.*) either not accessible or invalid$")
_OTHER = re.compile(
    r"Import path (?:(?P<path>\S+) )?does not correspond to a subclass of (?P<base>\w+)"
)
_NO_VALUE = re.compile(r"Expected a <class '(?P<kind>int|float|bool)'>\. Got value: (?P<given>.*)")
_NO_CHOICE = re.compile(
    r"Expected a typing\.Literal\[(?P<choices>.*?)\]\.? Got value: (?P<given>.*)"
)
_KINDS = {"int": "whole number", "float": "number", "bool": "answer of true or false"}
_NO_LIST = re.compile(r"Expected a <class 'list'>\. Got value: (?P<given>.*)")
_UNION = re.compile(r"Does not validate against any of the Union subtypes$|Errors:$|Subtypes: ")


def one_line(message: str) -> str:
    """The keys joined by dots, the innermost class, and what is wrong there with its remedy.

    Of several things that a value could have been, a file that is not there is left out; where the
    nearest valid name is known, that is the answer.
    """
    keys: list[str] = []
    own, given, said = "", "", []
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        if found := _KEY.match(text):
            keys.append(found["key"])
        elif found := _CLASS.match(text):
            own = found["path"]
        elif found := _NO_FILE.match(text):
            given = found["given"]
        elif text and not _UNION.match(text):
            said.append(_remedied(text, keys, given))
    wrong = said or [f"there is no file {given}"]
    answers = [text for text in wrong if NEAREST in text]
    what = "; ".join(dict.fromkeys(answers or wrong))
    where = ".".join(keys)
    if own and own not in what:
        where = f"{where} ({own})" if where else own
    return f"{where}: {what}" if where else what


def _remedied(text: str, keys: list[str], given: str) -> str:
    """With what to write instead, where jsonargparse does not tell."""
    if found := _OTHER.search(text):
        return f"{found['path'] or given} is no {found['base']}; give a class that is one"
    if found := _NO_VALUE.search(text):
        return f"{found['given']} is no {_KINDS[found['kind']]}"
    if found := _NO_CHOICE.search(text):
        return f"{found['given']} is none of {found['choices'].replace(chr(39), '')}"
    if found := _NO_LIST.search(text):
        return f"{found['given']} is no list; give [{found['given']}]"
    if found := _BARE.search(text):
        name = found["name"].strip("'")
        near = near_name(name, _short_names())
        remedy = f"give its path, module.{name}" if near is None else f"{NEAREST} {near!r}"
        return f"{name} is no class; {remedy}"
    if found := _ABSTRACT.search(text):
        option = ".".join(keys)
        return f"{found['path']} is a base alone; give --{option} CLASS, before its arguments"
    return text


def _short_names() -> list[str]:
    """Classes that need no path: those of the packages that are imported."""
    packages = (sys.modules.get(f"leadgrad.{name}") for name in ("victims", "attacks", "data"))
    names = (name for package in packages for name in getattr(package, "__all__", ()))
    return [name for name in names if name[:1].isupper()]
