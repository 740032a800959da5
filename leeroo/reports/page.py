"""A report as one page of HTML, without scripts and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from leeroo.engine.errors import OutputError
from leeroo.reports.report import Figure, Report, Table, cells

_STYLE = """
body { max-width: 60rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
figure, .wide { margin: 0; overflow-x: auto; }
svg { display: block; max-width: 100%; height: auto; }
.wide svg { min-width: 40rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
.number { text-align: right; }
.about { color: #555; }
"""
# Whatever a name in the data may hold, a browser takes nothing from elsewhere and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
"""


def page(report: Report) -> str:
    """Return a report as a page of HTML.

    Raises:
        UsageError: it has figures, and matplotlib is not installed.
    """
    sentences = "".join(f"<p>{escape(each)}</p>\n" for each in (*report.about, *report.summary))
    parts = "".join(_table(part) if isinstance(part, Table) else _figure(part) for part in report.parts)
    notes = _section("Notes", "", f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in report.notes)}</ul>")
    return f"""{_HEAD}<title>{escape(report.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(report.title)}</h1>
{sentences}{parts}{notes if report.notes else ""}</body>
</html>
"""


def check_own_page(file: Path) -> None:
    """Check that a page which the user has not named replaces nothing but such a page.

    Raises:
        OutputError: something else is there.
    """
    if file.is_file() and not file.read_bytes().startswith(_HEAD.encode()):
        raise OutputError(f"{file} is there and is no page of leeroo's: name the new page with --report")


def _section(title: str, about: str, content: str) -> str:
    """Return a section of the page: heading, a sentence on how to read the content, and the content (HTML)."""
    reading = f'<p class="about">{escape(about)}</p>\n' if about else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{reading}{content}\n</section>\n"


def _figure(figure: Figure) -> str:
    kind = ' class="wide"' if figure.wide else ""
    return _section(figure.title, figure.about, f"<figure{kind}>{figure.draw()}</figure>")


def _table(table: Table) -> str:
    styles = ["" if column.kind == "text" else ' class="number"' for column in table.columns]
    head = "".join(
        f'<th scope="col"{style}>{escape(column.name)}</th>'
        for column, style in zip(table.columns, styles, strict=True)
    )
    rows = "\n".join(f"<tr>{_row(row, styles)}</tr>" for row in cells(table))
    remarks = "".join(f'\n<p class="about">{escape(remark)}</p>' for remark in table.remarks)
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
    return _section(table.title, table.about, f'<div class="wide"><table>\n{body}\n</table></div>{remarks}')


def _row(row: Iterable[str], styles: Iterable[str]) -> str:
    return "".join(f"<td{style}>{escape(cell)}</td>" for cell, style in zip(row, styles, strict=True))
