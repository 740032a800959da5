"""Labels that people have checked: how many are right, and feedback for the experts that gave them.

The sample is the file that labelling writes for people, with their labels in the column `correct_label`. Its random
rows show how good all labels of the table are; the least sure ones show where mistakes are likeliest.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.errors import InputError
from leeroo.engine.jobs.agreement import LabelAgreement, measure_agreement, read_gold
from leeroo.engine.jobs.feedback import give
from leeroo.engine.jobs.proxy.findings import PROXY
from leeroo.engine.store.feedback import Feedback
from leeroo.engine.store.store import Store
from leeroo.engine.tables.values import as_text

CORRECT = "correct_label"
_DRAWN = "drawn"
_BY_CHANCE = "by chance"
# Labelling puts an apostrophe before what a spreadsheet would take for a formula.
_SHIELDED = re.compile(r"\A'(?=[=+\-@\t\r])")


@dataclass(frozen=True)
class CheckedLabels:
    """What people found.

    Attributes:
        rows: Of the sample.
        by_chance, least_sure: Agreement in the checked rows of each kind; None where none was checked.
        mistakes: Wrong labels with the right ones and how often they were found, the commonest first.
        unknown: Right labels that no row of the sample had, which may be misspelt.
        feedback: What is known of the experts now; rows labelled by a classifier, or with several labels, give none.
    """

    rows: int
    by_chance: LabelAgreement | None
    least_sure: LabelAgreement | None
    mistakes: list[tuple[str, str, int]]
    unknown: list[str]
    feedback: list[Feedback]

    @property
    def checked(self) -> int:
        """How many rows have a right label."""
        return sum(found.n for found in (self.by_chance, self.least_sure) if found is not None)


def read_checked(sample: pa.Table, column: str) -> CheckedLabels:
    """Compare the labels of a sample with those of people.

    Args:
        sample: The file, filled in.
        column: The column with the texts.

    Raises:
        InputError: a column is missing, or nothing was filled in.
    """
    prefix = _prefix(sample, column)
    written = as_text(sample.column(f"{prefix}label")).to_pylist()
    several = all(text.startswith("[") for text in written if text)
    read = _several if several else _one
    given, right = ([read(text or "") or None for text in texts] for texts in (written, read_gold(sample, CORRECT)))
    if not any(right):
        raise InputError(f"no row has a {CORRECT}: fill in that column with what the label should be")
    named = sorted(set(filter(None, given)))
    plain = pa.table(
        {"label": pa.array(given, pa.string()), CORRECT: pa.array(right, pa.string())}
        | {"confidence": sample.column(f"{prefix}confidence")}
    )
    by_chance = pc.equal(sample.column(_DRAWN), _BY_CHANCE)
    pairs = [(label or "", truth) for label, truth in zip(given, right, strict=True) if truth]
    wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
    return CheckedLabels(
        rows=len(sample),
        by_chance=measure_agreement(plain.filter(by_chance), CORRECT, named),
        least_sure=measure_agreement(plain.filter(pc.invert(by_chance)), CORRECT, named),
        mistakes=[(*pair, n) for pair, n in wrong.most_common()],
        unknown=sorted({truth for _, truth in pairs} - set(named)),
        feedback=[] if several else _feedback(sample, column, prefix, given, right),
    )


def keep_checked(store: Store, found: CheckedLabels) -> int:
    """Keep the feedback; return how many rows of it could be kept."""
    return len(found.feedback) - len(give(store, found.feedback))


def _prefix(sample: pa.Table, column: str) -> str:
    """Return what stands before the names of the labels' columns; everything that is needed is there."""
    there = sample.column_names
    prefix = next((name.removesuffix("label") for name in there if name.endswith("label") and name != CORRECT), "")
    for name in (_DRAWN, CORRECT, f"{prefix}label", f"{prefix}confidence", f"{prefix}expert", column):
        if name not in there:
            raise InputError(
                f"the input has no column {name!r}: give the file that leeroo label --check wrote, and the column= of"
                f" the texts (its columns are: {', '.join(there)})"
            )
    return prefix


def _one(text: str) -> str:
    return _SHIELDED.sub("", text.strip())


def _several(text: str) -> str:
    """Return labels in order with commas between, from JSON or as people write them."""
    parts = [part.strip().strip('"') for part in text.strip().strip("[]").split(",")]
    return ", ".join(sorted(filter(None, parts)))


def _feedback(
    sample: pa.Table, column: str, prefix: str, given: list[str | None], right: list[str | None]
) -> list[Feedback]:
    texts, experts = (as_text(sample.column(name)).to_pylist() for name in (column, f"{prefix}expert"))
    rows = zip(texts, experts, given, right, strict=True)
    return [
        Feedback(_SHIELDED.sub("", text), expert, label, float(label == truth))
        for text, expert, label, truth in rows
        if text and truth and label and expert and expert != PROXY
    ]
