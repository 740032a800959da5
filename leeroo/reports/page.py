"""A report as one page of HTML with nothing from elsewhere; its only script searches rows to browse."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path

from leeroo.engine.errors import OutputError
from leeroo.reports.report import Entry, Figure, Listing, Part, Report, Table, cells

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
td:last-child:not(.number) { white-space: normal; min-width: 16rem; }
.about { color: #555; }
"""
_LIST_STYLE = """
.rows details { border-bottom: 1px solid #ddd; padding: 0.3rem 0; }
.rows summary { cursor: pointer; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.rows h3 { font-size: 0.85rem; margin: 0.6rem 0 0.1rem; color: #555; }
.rows summary span { color: #555; margin-right: 0.5rem; }
.rows pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }
.tools { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; margin: 0.5rem 0; }
.tools > * { font: inherit; padding: 0.2rem 0.5rem; max-width: 100%; }
.tools input { flex: 1 1 12rem; }
@media (max-width: 40rem) { .rows summary { white-space: normal; } }
"""
# Adds a search, a choice of expert, and pages; without it all rows are there, one below the other.
_SCRIPT = """
"use strict";
const EACH = 20;
for (const list of document.querySelectorAll(".rows")) {
  const rows = [...list.children];
  const texts = rows.map(row => row.textContent.toLowerCase());
  const tools = document.createElement("div");
  const add = (name, label, text = "") => {
    const tool = document.createElement(name);
    tool.setAttribute("aria-label", label);
    tool.textContent = text;
    tools.append(tool);
    return tool;
  };
  const wanted = add("input", "Search"), group = add("select", "Which rows");
  const back = add("button", "Earlier rows", "\u2190"), on = add("button", "Later rows", "\u2192");
  const where = add("span", "Rows shown");
  wanted.placeholder = "Search questions and answers";
  group.append(new Option("all rows", ""));
  for (const name of [...new Set(rows.map(row => row.dataset.group))].sort()) group.append(new Option(name));
  let page = 0;
  const show = () => {
    const text = wanted.value.toLowerCase(), chosen = group.selectedIndex && group.value;
    const found = rows.filter((row, i) => texts[i].includes(text) && (!chosen || row.dataset.group === chosen));
    const last = Math.max(0, Math.ceil(found.length / EACH) - 1);
    page = Math.min(page, last);
    const here = found.slice(page * EACH, (page + 1) * EACH);
    for (const row of rows) row.hidden = true;
    for (const row of here) row.hidden = false;
    const first = page * EACH + 1;
    where.textContent = here.length ? `${first} to ${first + here.length - 1} of ${found.length}` : "none";
    back.disabled = page === 0;
    on.disabled = page === last;
  };
  wanted.oninput = group.onchange = () => { page = 0; show(); };
  back.onclick = () => { page -= 1; show(); };
  on.onclick = () => { page += 1; show(); };
  tools.className = "tools";
  list.before(tools);
  show();
}
"""
_SCRIPT_HASH = f"'sha256-{b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'"
# Whatever a text in the data may hold, a browser takes nothing from elsewhere, and runs no script but ours.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}"""


def page(report: Report) -> str:
    """Return a report as a page of HTML.

    Raises:
        UsageError: it has figures, and matplotlib is not installed.
    """
    sentences = "".join(f"<p>{escape(each)}</p>\n" for each in (*report.about, *report.summary))
    parts = "".join(map(_part, report.parts))
    browsed = any(isinstance(part, Listing) for part in report.parts)
    allowed, style = (f"; script-src {_SCRIPT_HASH}", _LIST_STYLE) if browsed else ("", "")
    script = f"<script>{_SCRIPT}</script>\n" if browsed else ""
    notes = _section("Notes", "", f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in report.notes)}</ul>")
    return f"""{_HEAD}{allowed}">
<title>{escape(report.title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<h1>{escape(report.title)}</h1>
{sentences}{parts}{notes if report.notes else ""}{script}</body>
</html>
"""


def check_own_page(file: Path, option: str = "--report") -> None:
    """Check that a page which the user has not named replaces nothing but such a page.

    Args:
        file: Where the page goes.
        option: The one that names another place.

    Raises:
        OutputError: something else is there.
    """
    if file.is_file() and not file.read_bytes().startswith(_HEAD.encode()):
        raise OutputError(f"{file} is there and is no page of leeroo's: name the new page with {option}")


def _section(title: str, about: str, content: str) -> str:
    """Return a section of the page: heading, a sentence on how to read the content, and the content (HTML)."""
    reading = f'<p class="about">{escape(about)}</p>\n' if about else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{reading}{content}\n</section>\n"


def _part(part: Part) -> str:
    if isinstance(part, Listing):
        return _section(part.title, part.about, f'<div class="rows">{"".join(map(_entry, part.entries))}</div>')
    return _table(part) if isinstance(part, Table) else _figure(part)


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


def _entry(entry: Entry) -> str:
    """Return a row that opens: the beginning of its first text after its facts, and below them all of its texts."""
    first = " ".join(next(iter(entry.texts.values()), "").split())[:160]
    texts = "".join(f"<h3>{escape(name)}</h3><pre>{escape(text)}</pre>" for name, text in entry.texts.items())
    head = f"<summary><span>{escape(entry.facts)}</span>{escape(first)}</summary>"
    return f'<details data-group="{escape(entry.group)}">{head}{texts}</details>\n'
