"""Reports of runs in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leeroo.api.shown import ShownReport
from leeroo.engine.jobs.answered.figures import measure
from leeroo.engine.jobs.answered.rows import open_rows
from leeroo.engine.tables import from_frame, open_input
from leeroo.reports.answered.report import answers_report


def report(
    answers: Any,
    *,
    column: str | None = None,
    gold: str | None = None,
    score: str | None = None,
    store: str | Path | None = None,
    title: str = "Answers",
) -> ShownReport:
    """Make one page of a run: spend, quality, failures, and answers to browse; as `leeroo report` does.

    A notebook shows the page, `print` its tables, and `save("answers.html")` writes it.

    Examples:
        >>> import leeroo, polars
        >>> questions = polars.DataFrame({"question": ["What is 2 plus 2?", "Which insect makes honey?"]})
        >>> answers = leeroo.answer(questions)
        >>> print(leeroo.report(answers))
        2 rows: 2 answered
        ...

    Args:
        answers: What `answer`, `label` or `solve` returned, or the path of a file that the command line wrote.
        column: The column with the questions; by default the first of question, text and prompt that is there.
        gold: The column with right answers; those of experts are compared with them.
        score: The column with scores from 0 to 1; it goes before `gold`. Recorded scores need no name.
        store: Folder of the answer store, whose feedback counts where the table has no scores.
        title: Title of the page.

    Returns:
        The report; its `data` is what `leeroo report --json` prints.

    Raises:
        InputError: it is no table of answers, or a column is missing.
        UsageError: no answer store is in the folder.
    """
    reader = open_input(str(answers)) if isinstance(answers, str | Path) else from_frame(answers)
    with open_rows(reader, column=column, gold=gold, score=score, store=store) as rows:
        return ShownReport(answers_report(measure(rows), title))
