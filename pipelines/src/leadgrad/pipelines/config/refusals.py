"""A parser's refusal, which goes through each class on the way down, as one line."""

from __future__ import annotations

import re

from leadgrad.pipelines.config.nearest import NEAREST

_KEY = re.compile(r'Parser key "(?P<key>[^"]+)":?$')
_CLASS = re.compile(r"Problem with given class_path '(?P<path>[\w.]+)':?$")
_BARE = re.compile(r"Expected a dot import path string: (?P<name>\S+)")
_ABSTRACT = re.compile(r"Expected an instantiatable class, but (?P<path>[\w.]+) is abstract")
_NO_FILE = re.compile(r"Expected a path but (?P<given>.*) either not accessible or invalid$")
_OTHER = re.compile(
    r"Import path (?:(?P<path>\S+) )?does not correspond to a subclass of (?P<base>\w+)"
)
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
    if found := _NO_LIST.search(text):
        return f"{found['given']} is no list; give [{found['given']}]"
    if found := _BARE.search(text):
        name = found["name"].strip("'")
        return f"{name} is no class; give its path, module.{name}"
    if found := _ABSTRACT.search(text):
        option = ".".join(keys)
        return f"{found['path']} is a base alone; give --{option} CLASS, before its arguments"
    return text
