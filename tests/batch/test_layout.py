"""Prompts made of fields: what rows share comes first."""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.layout import field_names, fill_in, with_shared_beginnings
from leeroo.engine.batch.prompts import build_asks, read_input
from leeroo.engine.batch.worktable import Worktable
from leeroo.engine.schema import REQUESTS


def _laid_out(task: str, rows: list[dict[str, object]]) -> list[str | None]:
    table = pa.table({"question": [f"{i}" for i in range(len(rows))]})
    ask = build_asks(len(rows), {"task": [task] * len(rows), "fields": [json.dumps(row) for row in rows]})
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Worktable(Path(folder))) as worktable:
        read_input(table.append_column("ask", ask).to_reader(), Criteria(ask_column="ask"), worktable)
        return [text for (text,) in worktable._con.execute("SELECT laid_out FROM questions ORDER BY id").fetchall()]


def test_fields_are_found_and_filled_in() -> None:
    """Names are distinguished from doubled braces, and values that are not text are written as JSON."""
    task = "{{x}} {a} of {b_2}: {a} { c } {}"
    assert field_names(task) == ("a", "b_2")
    assert fill_in(task, {"a": "A", "b_2": [1, "é"]}) == '{x} A of [1, "é"]: A { c } {}'


def test_the_field_that_saves_most_comes_first() -> None:
    """Bytes times repetitions decide: a long text of few rows comes before a word of all rows."""
    rows: list[dict[str, object]] = [
        {"word": "no", "unique": f"number {i}", "long": f"long text {i % 2} " * 20} for i in range(8)
    ]
    laid_out = _laid_out("{unique} {word} {long}", rows)
    assert laid_out[3] == (
        f"{{unique}} {{word}} {{long}}\n\n{{long}}: {rows[3]['long']}\n{{word}}: no\n{{unique}}: number 3"
    )


def test_rows_that_share_beginnings_lie_together() -> None:
    """Among what is alike so far: the second field is chosen within the groups of the first."""
    rows: list[dict[str, object]] = [
        {"a": f"A{i // 4}" * 50, "b": f"B{i // 2}" * 40, "c": f"C{i % 2}" * 45, "d": i} for i in range(8)
    ]
    # Within one a, b and c come again as often as each other, and c is longer; then nothing more is shared.
    text = _laid_out("{d} {b} {c} {a}", rows)[0]
    assert text is not None
    assert [line[1] for line in text.splitlines()[2:]] == ["a", "c", "d", "b"]


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("{a} and {b}", [{"a": f"a{i}", "b": f"b{i}"} for i in range(4)]),
        ("{a} and {b}", [{"a": "the same for all rows " * 9, "b": i} for i in range(4)]),
        ("only {a}", [{"a": "the same"}] * 4),
    ],
    ids=["nothing is shared", "what is shared comes first as it is", "one field"],
)
def test_where_it_gains_nothing_fields_are_filled_in(task: str, rows: list[dict[str, object]]) -> None:
    """No layout is better than the question as it was written."""
    assert _laid_out(task, rows) == [None] * len(rows)


def test_text_comes_as_it_is() -> None:
    """Quotes, line breaks and braces of a field are not touched, and two braces of the task are one."""
    rows: list[dict[str, object]] = [{"a": f"{i}", "b": 'say "{x}"\nor not ' * 9} for i in range(4)]
    text = _laid_out("{{json}} {a} {b}", rows)[2]
    assert text == "{json} {a} {b}\n\n{b}: " + 'say "{x}"\nor not ' * 9 + "\n{a}: 2"


def test_a_field_may_have_any_name() -> None:
    """Those of the columns of our own tables, and names that differ in case alone."""
    rows: list[dict[str, object]] = [
        {"id": i, "laid_out": "the same for all " * 9, "Laid_Out": f"{i % 2}", "rows": i} for i in range(4)
    ]
    text = _laid_out("{id} {laid_out} {Laid_Out} {rows}", rows)[3]
    assert text is not None
    assert text.splitlines()[2:] == [
        "{laid_out}: " + "the same for all " * 9,
        "{Laid_Out}: 1",
        "{id}: 3",
        "{rows}: 3",
    ]


def _shared(prompts: list[str], system: str | None = None, least_tokens: int = 10) -> list[int | None]:
    rows = [
        {"id": i, "question": p, "prompt": p, "system": system, "max_tokens": 1, "temperature": 0.0, "raw": False}
        for i, p in enumerate(sorted(prompts))
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=REQUESTS)
    shared: list[int | None] = with_shared_beginnings(batch, least_tokens).column("shared_chars").to_pylist()
    return shared


LINE = "forty bytes are ten tokens of this line\n"


@pytest.mark.parametrize(
    ("prompts", "system", "shared"),
    [
        ([], None, []),
        ([f"{LINE}a"], None, [None]),
        ([f"{LINE}a", f"{LINE}b"], None, [40, 40]),
        ([f"{LINE[4:]}a", f"{LINE[4:]}b"], None, [None, None]),  # nine tokens
        ([f"{LINE}same", f"{LINE}sane", "other"], None, [40, 40, None]),  # up to the end of a line
        ([LINE[:-1], LINE[:-1] + "!"], None, [None, None]),
        (["a", "b"], LINE, [0, 0]),
        (["a"], LINE, [None]),
        ([f"{LINE}a", f"{LINE}b", "c", "d"], "x" * 8, [None, None, 40, 40]),
        # Two texts that begin alike: each for its own rows saves more than what all share.
        ([f"{LINE}{c}{LINE}{q}" for c in "AB" for q in "123"], None, [81] * 6),
        # One pair shares a line more, and all share many: they are kept as one.
        ([LINE * 9 + q for q in ("1\nx", "1\ny", "2", "3", "4", "5", "6", "7")], None, [360] * 8),
        (["é" * 19 + f"\n{q}" for q in "ab"], None, [None, None]),  # 39 bytes
        (["é" * 20 + f"\n{q}" for q in "ab"], None, [21, 21]),
    ],
)
def test_beginnings_are_kept_where_that_saves(prompts: list[str], system: str | None, shared: list[int | None]) -> None:
    """Rows that begin alike share whole lines of at least the fewest tokens, in groups that save most."""
    assert _shared(prompts, system) == shared


def test_groups_save_nearly_as_much_as_the_best_ones() -> None:
    """On random prompts, the groups save hardly less than the best division of the rows does."""
    rng = random.Random(0)
    saved = best = 0.0
    for _ in range(200):
        prompts = sorted("".join(f"{rng.choice('ab') * 8}\n" for _ in range(4)) for _ in range(7))
        saved += _saving(prompts, _shared(prompts, least_tokens=2))
        best += _best_saving(prompts)
    assert saved > 0.95 * best > 0


def _saving(prompts: list[str], shared: list[int | None]) -> float:
    groups = Counter(prompt[:chars] for prompt, chars in zip(prompts, shared, strict=True) if chars is not None)
    return sum(len(beginning) / 4 * (0.9 * (rows - 1) - 0.25) for beginning, rows in groups.items())


def _best_saving(prompts: list[str]) -> float:
    """Return the most that neighbours can save, by trying all places where groups end."""
    best = [0.0] * (len(prompts) + 1)
    for end in range(1, len(prompts) + 1):
        for start in range(end):
            ends = [i for i, char in enumerate(prompts[start], 1) if char == "\n" and end - start > 1]
            alike = [i for i in ends if all(each.startswith(prompts[start][:i]) for each in prompts[start:end])]
            chars = max(alike, default=0)
            saves = chars / 4 * (0.9 * (end - start - 1) - 0.25) if chars >= 8 else 0.0
            best[end] = max(best[end], best[start] + max(saves, 0.0))
    return best[-1]
