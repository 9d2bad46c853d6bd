"""Tables on stdout: as wide as the terminal, one record a line where a program reads them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

import click

__all__ = ["table"]

GAP = 2
NARROWEST = 24
"""Columns that the last cell has at least, however narrow the terminal is."""


def table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows of cells in columns. All rows have as many, but for those of one cell, which are headings.

    On a terminal the last cell is wrapped below itself. Elsewhere a row is one line, whatever its length, and an empty
    first cell repeats the one above it, so that each line can be found by its name.
    """
    width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
    for line in _lines(rows, width):
        click.echo(line)


def _lines(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """The lines, for a terminal of ``width`` columns or, with None, for a pipe."""
    cells = [row[:-1] for row in rows if len(row) > 1]
    columns = [max(map(len, column)) + GAP for column in zip(*cells, strict=True)]
    name = ""
    for row in rows:
        first, *others = row
        name = first or name
        shown = [name if width is None else first, *others]
        head = "".join(cell.ljust(size) for cell, size in zip(shown[:-1], columns, strict=False))
        if width is None:
            yield head + shown[-1]
            continue
        room = max(width - len(head), NARROWEST)
        # A path or an address that is too long stays whole: it is there to be copied.
        parts = textwrap.wrap(shown[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        yield head + parts[0]
        yield from (" " * len(head) + part for part in parts[1:])
