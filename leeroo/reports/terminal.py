"""A report on a terminal: its summary, tables and notes.

A table takes the width that is there: long names are shortened in the middle, sentences wrap between words, and numbers
stay whole. Where the output is no terminal, nothing is shortened, wrapped or coloured.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from leeroo.reports.report import Report, Table, cells

_GAP = 2  # blanks between columns
# A column of words becomes no narrower than this, in characters: fewer do not tell one name from another.
_LEAST = 16
# Parts of a shortened name that are its beginning; the first that leaves different names different is taken.
_SHARES = (0.45, 0.25, 0.65, 0.1, 0.9, 0.0, 1.0)


def print_report(report: Report) -> None:
    """Print what was found: the sentences, the tables, and the notes."""
    for line in report.summary:
        say(line)
    for table in report.tables:
        say("")
        print_table(table)
    if report.notes:
        say("")
    for note in report.notes:
        say(f"note: {note}")


def print_table(table: Table, *, stderr: bool = False) -> None:
    """Print a table with its title, and its remarks below it."""
    console = Console(stderr=stderr)
    if table.title:
        say(table.title, stderr=stderr)
    if table.rows or not table.empty:
        width = console.width if console.is_terminal or console.is_jupyter else None
        for line in _lines(table, width):
            console.print(line, soft_wrap=True)
    else:
        say(f"  {table.empty}", stderr=stderr)
    for remark in table.remarks:
        say(remark, stderr=stderr)


def report_lines(report: Report) -> list[str]:
    """Return what `print_report` prints as lines of text, as wide as they are."""
    tables = [line for table in report.tables for line in ("", *table_lines(table))]
    return [*report.summary, *tables, *([""] if report.notes else []), *(f"note: {note}" for note in report.notes)]


def table_lines(table: Table) -> list[str]:
    """Return a table as lines of text: its title, its rows as wide as they are, and its remarks."""
    rows = [line.plain for line in _lines(table, None)] if table.rows or not table.empty else [f"  {table.empty}"]
    return [*([table.title] if table.title else []), *rows, *table.remarks]


def say(line: str, *, stderr: bool = False) -> None:
    """Print a line, or several: on a terminal they wrap between words, elsewhere they stay as they are."""
    console = Console(stderr=stderr)
    lines = [part for each in line.split("\n") for part in wrap(each, console.width)] if console.is_terminal else [line]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of a line that wraps between words; a longer word has a line of its own."""
    if cell_len(text) <= width:
        return [text]
    first, *words = text.split(" ")
    lines = [first]
    for word in words:
        if lines[-1] and cell_len(f"{lines[-1]} {word}") > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines


def shorten(name: str, width: int, share: float = _SHARES[0]) -> str:
    """Return a name cut in its middle to a width, with this share of its beginning.

    >>> shorten("meta-llama/Meta-Llama-3.1-70B-Instruct", 25)
    'meta-llama…1-70B-Instruct'
    """
    if cell_len(name) <= width:
        return name
    head = int((width - 1) * share)
    tail = width - 1 - head
    return f"{_start(name, head)}…{_start(name[::-1], tail)[::-1]}"


def _start(text: str, width: int) -> str:
    """Return the characters that fit into a width."""
    return chop_cells(text, width)[0] if width and text else ""


class _Column:
    """A column as text, with the widths that it can have."""

    def __init__(self, head: str, values: Sequence[str], *, words: bool) -> None:
        self.head, self.values, self.words = head, values, words
        longest = max(map(cell_len, values), default=0)
        longest_word = max(map(cell_len, head.split()), default=0)
        self.natural = max(longest, cell_len(head))
        self.wrapped_head = max(longest, longest_word)
        self.least = max(longest_word, min(longest, _LEAST)) if words else self.wrapped_head

    def in_width(self, width: int) -> list[list[str]]:
        """Return the lines of its cells in a width, those of its head first."""
        return [wrap(cell, width) for cell in (self.head, *self._distinct(width))]

    def _distinct(self, width: int) -> list[str]:
        """Return its values with their long words shortened, so that different ones stay different where they can."""
        for share in _SHARES:
            short = [" ".join(shorten(word, width, share) for word in value.split(" ")) for value in self.values]
            if len(set(short)) == len(set(self.values)):
                return short
        return [" ".join(shorten(word, width) for word in value.split(" ")) for value in self.values]


def _lines(table: Table, width: int | None) -> list[Text]:
    """Return the lines of a table; columns that have no room side by side follow below, after the first ones again."""
    rows = [[" ".join(cell.splitlines()) for cell in row] for row in cells(table)]
    columns = [
        _Column(column.name, [row[i] for row in rows], words=column.kind == "text")
        for i, column in enumerate(table.columns)
    ]
    blocks = [(block, _widths(block, width)) for block in _blocks(columns, width)]
    # What tells rows apart looks the same in every block.
    key = [min(widths) for widths in zip(*(widths[: len(_key(columns))] for _, widths in blocks), strict=True)]
    lines: list[Text] = []
    for block, widths in blocks:
        lines += [Text()] * bool(lines) + _drawn(block, [*key, *widths[len(key) :]])
    return lines


def _blocks(columns: Sequence[_Column], width: int | None) -> list[list[_Column]]:
    """Return the columns that stand side by side, those that tell rows apart in each block."""
    key = _key(columns)
    blocks = [[*key]]
    for column in columns[len(key) :]:
        least = sum(each.least + _GAP for each in blocks[-1]) + column.least
        if width is not None and least > width and len(blocks[-1]) > len(key):
            blocks.append([*key])
        blocks[-1].append(column)
    return blocks


def _key(columns: Sequence[_Column]) -> Sequence[_Column]:
    """Return the first columns that tell rows apart, as far as they are words; at least one."""
    for count in range(1, len(columns)):
        rows = list(zip(*(column.values for column in columns[:count]), strict=True))
        if len(set(rows)) == len(rows) or not columns[count].words:
            return columns[:count]
    return columns[:1]


def _widths(columns: Sequence[_Column], width: int | None) -> list[int]:
    """Return the width of each column: heads wrap before names are shortened, the widest column first."""
    widths = [column.natural for column in columns]
    if width is None:
        return widths
    for least in ([column.wrapped_head for column in columns], [column.least for column in columns]):
        over = sum(widths) + _GAP * (len(widths) - 1) - width
        for _ in range(over):
            widest = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
            widths[widest] -= widths[widest] > least[widest]
    return widths


def _drawn(columns: Sequence[_Column], widths: Sequence[int]) -> list[Text]:
    """Return the lines of columns in their widths: words to the left, numbers to the right, heads at the bottom."""
    lines = []
    wrapped = [column.in_width(width) for column, width in zip(columns, widths, strict=True)]
    for i, row in enumerate(zip(*wrapped, strict=True)):
        height = max(map(len, row))
        padded = [[""] * (height - len(cell)) + cell if i == 0 else cell + [""] * (height - len(cell)) for cell in row]
        for parts in zip(*padded, strict=True):
            aligned = [
                _pad(part, width, left=column.words) for part, width, column in zip(parts, widths, columns, strict=True)
            ]
            lines.append(Text((" " * _GAP).join(aligned).rstrip(), "bold" if i == 0 else ""))
    return lines


def _pad(text: str, width: int, *, left: bool) -> str:
    blanks = " " * (width - cell_len(text))
    return text + blanks if left else blanks + text
