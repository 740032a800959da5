"""Report: an evaluation as one page of HTML, without scripts and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.reports.findings import Table, headline, tables
from leeroo.reports.plot import plot_evaluation, plot_reliability

_STYLE = """
body { max-width: 60rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
figure, .wide { margin: 0; overflow-x: auto; }
svg { display: block; max-width: 100%; height: auto; }
.frontier svg { min-width: 40rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
.numbers th:not(:first-child), .numbers td:not(:first-child) { text-align: right; }
.about { color: #555; }
"""
# Whatever a name in the data may hold, a browser takes nothing from elsewhere and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report(evaluation: Evaluation, router: str, data: Sequence[str], split: str) -> str:
    """The page: what was measured, the frontier, the tables of `findings`, the reliability, and the notes.

    Args:
        evaluation: What `evaluate` found.
        router: The name of its folder.
        data: The names of the data folders.
        split: Of them, as given to `evaluate`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    title = f"Evaluation of the router {router}"
    rows = "all splits" if split == "all" else f"the split '{split}'"
    measured = (
        f"Measured on {evaluation.n:,} questions of {rows} of {', '.join(data)}, "
        f"with recorded outcomes of {len(evaluation.experts)} experts."
    )
    return page(
        title,
        [
            *map(paragraph, (measured, headline(evaluation))),
            section("Cost against accuracy", f'<figure class="frontier">{plot_evaluation(evaluation)}</figure>'),
            *map(table, tables(evaluation)),
            section("Predicted against recorded scores", _reliability(evaluation)),
            section("Notes", _notes(evaluation.notes)) if evaluation.notes else "",
        ],
    )


def page(title: str, parts: Iterable[str]) -> str:
    """A page of HTML with a heading and these parts, made by the functions below."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{"".join(parts)}</body>
</html>
"""


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>\n"


def section(title: str, content: str) -> str:
    """A heading of plain text and what stands below it, which is HTML."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>\n"


def table(found: Table) -> str:
    """A table with its heading."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in found.columns)
    rows = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in found.rows)
    kind = ' class="numbers"' if found.numbers else ""
    return section(
        found.title,
        f'<p class="about">{escape(found.about)}</p>\n<div class="wide"><table{kind}>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>",
    )


def _reliability(evaluation: Evaluation) -> str:
    about = (
        "Predictions in ten bins of equal width; the area of a dot is how many there are. Above the dashed line "
        "experts do better than predicted, below it worse. Bins in which an expert has fewer than 20 questions are "
        "left out of its own line."
    )
    picture = plot_reliability(evaluation.scores_pred, evaluation.scores)
    return f'<p class="about">{escape(about)}</p>\n<figure>{picture}</figure>'


def _notes(notes: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"
