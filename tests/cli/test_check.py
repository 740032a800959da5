"""leeroo check: a sample of labels that people have filled in."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from leeroo.engine.store.store import Store
from tests.command import leeroo

ENTRY = """[[expert]]
name = "{0}"
model = "{0}"
backend = "openai"
base_url = "{1}"
usd_per_m_input = 1
usd_per_m_output = 1
"""


@pytest.fixture
def place(tmp_path: Path, api: Any) -> Path:
    """Provide 20 tickets and a sample of 12 labels; whoever labels takes every third invoice for a bug."""

    def says(model: str, prompt: str) -> dict[str, float]:
        number = int(prompt.rsplit("ticket ", 1)[1].split()[0])
        p = 0.6 if number % 3 == 0 else 0.9
        return {"billing": p, "bug": 1 - p} if number % 3 else {"bug": p, "billing": 1 - p}

    api.says = says
    (tmp_path / "pool.toml").write_text(ENTRY.format("small", api.url))
    texts = [f"=ticket {i} about an invoice" for i in range(1, 21)]
    pl.DataFrame({"text": texts}).write_csv(tmp_path / "tickets.csv")
    done = _label(tmp_path, "--no-calibrate")
    assert "leeroo check labelled-check.csv" in done.stderr
    return tmp_path


def _label(place: Path, *options: str) -> Any:
    command = ("label", "tickets.csv", "--labels", "bug,billing", "--check", "12", "--out", "labelled.csv")
    done = leeroo(*command, "--pool", "pool.toml", "--store", "store", "--overwrite", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    return done


def _fill_in(place: Path, right: str | None, rows: int = 12) -> pl.DataFrame:
    """Fill in the first rows as a person does in a spreadsheet."""
    sample = pl.read_csv(place / "labelled-check.csv")
    filled = sample.with_columns(correct_label=pl.Series([right] * rows + [None] * (12 - rows), dtype=pl.String))
    filled.write_csv(place / "labelled-check.csv")
    return sample


def test_the_random_rows_say_how_good_the_labels_are(place: Path) -> None:
    """With an interval; the least sure rows stand apart, and mistakes are counted."""
    sample = _fill_in(place, "billing")
    done = leeroo("check", "labelled-check.csv", "--store", "store", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    wrong = (sample["label"] == "bug") & (sample["drawn"] == "by chance")
    accuracy = data["by_chance"]["accuracy"]
    assert accuracy["value"] == pytest.approx(1 - wrong.sum() / 6)
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] <= 1
    assert data["least_sure"]["n"] == 6
    assert data["mistakes"] == [{"label": "bug", "correct_label": "billing", "rows": (sample["label"] == "bug").sum()}]


def test_what_people_found_becomes_feedback(place: Path) -> None:
    """It is about the texts as they were labelled, and a repetition replaces it."""
    sample = _fill_in(place, "billing", rows=8)
    for _ in range(2):
        said = leeroo("check", "labelled-check.csv", "--store", "store", cwd=place).stdout
        assert "feedback on 8 answers kept: store\n" in said
        assert "note: 4 rows have no correct_label" in said
    with contextlib.closing(Store(place / "store")) as store:
        kept = store.feedback()
    expected = {
        (text.removeprefix("'"), label, float(label == "billing"))
        for text, label in sample.head(8).select("text", "label").rows()
    }
    assert {(row["question"], row["answer"], row["score"]) for row in kept} == expected
    assert all(row["question"].startswith("=ticket") and row["completion_tokens"] for row in kept)


def test_a_misspelt_label_is_pointed_out(place: Path) -> None:
    """It counts as another label, and a note names it."""
    _fill_in(place, "biling", rows=2)
    said = leeroo("check", "labelled-check.csv", "--store", "store", cwd=place).stdout
    assert "may be misspelt: biling\n" in said


def test_several_labels_are_compared_as_sets(place: Path) -> None:
    """In any order, as JSON or with commas between; they give no feedback."""
    sample = pl.read_csv(place / "labelled-check.csv")
    labels = pl.Series(['["billing","bug"]', '["bug"]', "[]"] * 4)
    filled = pl.Series(["bug, billing", '["bug"]', "bug"] * 4)
    sample.with_columns(label=labels, correct_label=filled).write_csv(place / "several.csv")
    data = json.loads(leeroo("check", "several.csv", "--store", "store", "--json", cwd=place).stdout)
    assert data["by_chance"]["accuracy"]["value"] == pytest.approx(4 / 6)
    assert data["feedback"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("labelled-check.csv", ("correct_label", "fill in")), ("labelled.csv", ("drawn", "leeroo label --check"))],
)
def test_what_cannot_be_checked_is_one_line(place: Path, name: str, words: tuple[str, ...]) -> None:
    """Nothing was filled in, or it is another file."""
    done = leeroo("check", name, "--store", "store", cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    for word in words:
        assert word in done.stderr
