"""MMLU's questions as a table: from its own files, the hub's, or a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.jobs.mmlu.data import CATEGORIES, read_questions, with_requests


def _write(folder: Path, *, numbers: bool = False, rows: int = 3) -> Path:
    """Write two subjects with some test questions and two solved ones each; the gold answer of question i is letter i."""
    for split, count in (("test", rows), ("dev", 2)):
        table = [
            {
                "question": f" {subject} {split} {i}? ",
                "choices": [f"one {i}", "two", "three", "four"],
                "answer": i % 4 if numbers else "ABCD"[i % 4],
                "subject": subject,
            }
            for subject in ("world_religions", "astronomy")
            for i in range(count)
        ]
        name = f"{split}-00000-of-00001.parquet" if numbers else f"{split}.parquet"
        pq.write_table(pa.Table.from_pylist(table), folder / name)
    return folder


def test_the_prompt_is_the_benchmarks(tmp_path: Path) -> None:
    """The prompt has a line about the subject, the solved questions in order, the question, and 'Answer:'."""
    row = read_questions(str(_write(tmp_path)), shots=2).to_pylist()[1]
    assert row["prompt"] == (
        "The following are multiple choice questions (with answers) about world religions.\n\n"
        "world_religions dev 0?\nA. one 0\nB. two\nC. three\nD. four\nAnswer: A\n\n"
        "world_religions dev 1?\nA. one 1\nB. two\nC. three\nD. four\nAnswer: B\n\n"
        "world_religions test 1?\nA. one 1\nB. two\nC. three\nD. four\nAnswer:"
    )
    assert row["question"] == "world_religions test 1?\nA. one 1\nB. two\nC. three\nD. four"
    assert (row["query_id"], row["category"], row["gold"]) == ("world_religions-2", "humanities", "B")


def test_no_shots_is_the_question_alone(tmp_path: Path) -> None:
    """Without shots the question follows the line about the subject."""
    prompt = read_questions(str(_write(tmp_path)), shots=0).to_pylist()[3]["prompt"]
    assert prompt.startswith(
        "The following are multiple choice questions (with answers) about astronomy.\n\nastronomy test 0?"
    )


def test_the_hubs_files_are_the_same(tmp_path: Path) -> None:
    """The hub has numbered files in a folder 'all', answers as numbers, and no category."""
    (tmp_path / "own").mkdir()
    (tmp_path / "hub" / "all").mkdir(parents=True)
    _write(tmp_path / "hub" / "all", numbers=True)
    own = read_questions(str(_write(tmp_path / "own")), shots=1)
    assert read_questions(str(tmp_path / "hub"), shots=1).equals(own)


def test_the_categories_are_those_of_the_data(shared_data: Path) -> None:
    """The 57 subjects are in Hendrycks' four categories."""
    whole = read_questions(str(shared_data / "mmlu"), shots=0)
    assert len(whole) == 14_042
    categories = {row["subject"]: row["category"] for row in whole.select(["subject", "category"]).to_pylist()}
    assert categories == {subject: category for category, names in CATEGORIES.items() for subject in names.split()}


def test_a_limit_takes_evenly_from_all_subjects(tmp_path: Path) -> None:
    """The first question of each subject is taken, then the second, in the file's order."""
    folder = str(_write(tmp_path, rows=30))
    few = read_questions(folder, shots=0, limit=7)
    subjects = few.column("subject").to_pylist()
    assert sorted(subjects, reverse=True) == subjects
    assert {subjects.count("astronomy"), subjects.count("world_religions")} == {3, 4}
    assert few.equals(read_questions(folder, shots=0, limit=7))


def test_subjects_can_be_chosen(tmp_path: Path) -> None:
    """Subjects are chosen by name, and an unknown one is an error that names those there are."""
    folder = str(_write(tmp_path))
    assert set(read_questions(folder, ["astronomy"], shots=0).column("subject").to_pylist()) == {"astronomy"}
    with pytest.raises(UsageError, match="no subject 'alchemy'; there are: astronomy, world_religions"):
        read_questions(folder, ["astronomy", "alchemy"])


def test_too_many_shots_are_refused(tmp_path: Path) -> None:
    """More shots than there are solved questions is an error that has both numbers."""
    with pytest.raises(UsageError, match=r"2 solved questions of astronomy, and 5 were asked for with --shots"):
        read_questions(str(_write(tmp_path)))


@pytest.mark.parametrize(
    ("column", "match"), [("choices", "has no column 'choices'"), ("answer", "has no column 'answer'")]
)
def test_a_missing_column_is_named(tmp_path: Path, column: str, match: str) -> None:
    """The error names the missing column, and the columns there are."""
    _write(tmp_path)
    file = tmp_path / "test.parquet"
    pq.write_table(pq.read_table(file).drop_columns([column]), file)
    with pytest.raises(InputError, match=match):
        read_questions(str(tmp_path), shots=0)


def test_a_folder_without_questions_is_explained(tmp_path: Path) -> None:
    """The error says what the folder should hold, and where the questions come from without one."""
    with pytest.raises(InputError, match=r"it should hold test\.parquet and dev\.parquet of MMLU, or queries\.parquet"):
        read_questions(str(tmp_path))


def test_a_file_that_is_no_parquet_is_one_line(tmp_path: Path) -> None:
    """The error is one line, whatever DuckDB's own message is."""
    for split in ("test", "dev"):
        (tmp_path / f"{split}.parquet").write_text("question,answer\n")
    with pytest.raises(InputError) as error:
        read_questions(str(tmp_path))
    assert len(str(error.value).splitlines()) == 1


def test_a_request_has_its_prompt_and_choices(tmp_path: Path) -> None:
    """The request has the row's prompt, and letters as choices where a choice is wanted."""
    questions = read_questions(str(_write(tmp_path)), shots=0)

    def ask(**how: bool) -> dict[str, Any]:
        table = with_requests(questions, **how)
        assert "prompt" not in table.column_names
        return dict(table.to_pylist()[0]["ask"])

    chosen = ask(raw=True, choose=True)
    assert (chosen["choices"], chosen["raw"]) == (["A", "B", "C", "D"], True)
    assert chosen["prompt"] == questions.column("prompt")[0].as_py()
    written = ask(raw=False, choose=False)
    assert (written["choices"], written["raw"]) == (None, False)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"answer": "b"}, r"the column 'answer' of row 2 is 'b', which names no choice: give a letter from A to D"),
        ({"answer": None}, r"the column 'answer' of row 2 is None, which names no choice"),
        ({"answer": "E"}, r"'answer' of row 2 is 'E'"),
        ({"answer": "AB"}, r"'answer' of row 2 is 'AB'"),
        (
            {"choices": ["one", None, "three", "four"]},
            r"the column 'choices' of row 2 is \['one', None, 'three', 'four'\]",
        ),
        ({"choices": None}, r"the column 'choices' of row 2 is None: give at least two texts"),
        ({"choices": ["one"]}, r"the column 'choices' of row 2"),
    ],
)
@pytest.mark.parametrize("split", ["test", "dev"])
def test_gold_and_choices_that_cannot_be_scored_are_one_line(
    tmp_path: Path, split: str, change: dict[str, Any], line: str
) -> None:
    """The column and the first bad row are named, before any expert answers."""
    file = _write(tmp_path) / f"{split}.parquet"
    rows = pq.read_table(file).to_pylist()
    rows[1] |= change
    rows[3] |= change
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(file)), file)
    with pytest.raises(InputError, match=line) as wrong:
        read_questions(str(tmp_path), shots=0)
    assert file.name.split(".")[0] in str(wrong.value)
    assert len(str(wrong.value).splitlines()) == 1


def test_answers_counted_from_one_are_refused(tmp_path: Path) -> None:
    """Numbers beyond the choices are refused, and the message has the number instead of a letter."""
    place = _write(tmp_path, numbers=True, rows=4) / "test-00000-of-00001.parquet"
    rows = [{**row, "answer": row["answer"] + 1} for row in pq.read_table(place).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), place)
    with pytest.raises(InputError, match=r"the column 'answer' of row 4 is 4, .* or a number from 0 to 3"):
        read_questions(str(tmp_path), shots=0)


@pytest.mark.parametrize("choices", ["A. one B. two", 4])
def test_choices_that_are_no_list_are_one_line(tmp_path: Path, choices: object) -> None:
    """One line says what the column is, and what it should be."""
    file = _write(tmp_path) / "test.parquet"
    rows = [{**row, "choices": choices} for row in pq.read_table(file).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), file)
    with pytest.raises(InputError, match=r"the column 'choices' is \w+: make it a list of texts"):
        read_questions(str(tmp_path), shots=0)
