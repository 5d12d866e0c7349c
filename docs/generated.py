"""What the site takes from the code itself: each command's help, under the page of commands."""

from __future__ import annotations

from typing import Any

from leadgrad.pipelines.commands.table_usage import BOARD, TABLE_USAGES
from leadgrad.pipelines.commands.usage import FIGURE_USAGES, USAGES


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs' hook: the page's text."""
    if page.file.src_uri != "commands.md":
        return markdown
    known = {f"leadgrad {name}": usage for name, usage in USAGES.items()}
    for name, usage in TABLE_USAGES.items():
        if usage not in known.values():
            known[f"leadgrad table {name}"] = usage
    known |= {f"leadgrad figure {name}": usage for name, usage in FIGURE_USAGES.items()}
    known["leadgrad board"] = BOARD
    parts = [f"## `{name}`\n\n```text\n{usage.text()}\n```" for name, usage in known.items()]
    return "\n\n".join([markdown, *parts])
