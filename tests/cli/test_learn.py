"""leeroo run --learn, leeroo learn and leeroo explain --learn, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import three_experts
from tests.command import leeroo as run

RUN = ["run", "questions.csv", "--pool", "pool.toml", "--store", "store", "--out", "answers.csv"]
LEARN = ["learn", "questions.csv", "--pool", "pool.toml", "--store", "store"]


@pytest.fixture
def place(tmp_path: Path, api: Any) -> Path:
    """Return a folder with 120 questions and a pool of three experts."""
    three_experts.set_up(tmp_path, api)
    return tmp_path


def test_a_table_is_answered_and_learned_from(place: Path, api: Any) -> None:
    """One command writes the answers, the router and the page, within the budget; again it pays nothing."""
    command = [*RUN, "--learn", "--max-cost-usd", "0.01", "--save-router", "router", "--report", "page.html"]
    done = run(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    answered = pl.read_csv(place / "answers.csv")
    assert answered["id"].to_list() == list(range(120))
    assert answered["error"].null_count() == 120
    assert answered["cost_usd"].sum() == pytest.approx(api.account_usd)
    assert 0 < api.account_usd <= 0.01
    assert three_experts.share_right(answered) > 0.65  # alpha alone is right on 70 %, a random one on 66 %
    assert "pilot: " in done.stderr
    assert "The same money spent otherwise" in done.stdout
    assert (place / "router" / "router.json").is_file()
    assert "<svg" in (place / "page.html").read_text()
    asked = sum(api.asked.values())
    again = run(*command, "--overwrite", cwd=place)
    assert again.returncode == 0, again.stderr
    assert sum(api.asked.values()) == asked
    second = pl.read_csv(place / "answers.csv")
    assert second["answer"].to_list() == answered["answer"].to_list()
    assert second["cost_usd"].sum() == 0


def test_a_sample_teaches_a_router_and_a_budget(place: Path, api: Any) -> None:
    """The command learn asks a part of the table, writes router and page, and suggests a budget for the whole."""
    done = run(*LEARN, "--budget", "0.003", "--out", "router", "--gold", "truth", cwd=place)
    assert done.returncode == 0, done.stderr
    assert api.account_usd <= 0.003
    assert len(api.asked) < 120
    assert "A budget of $" in done.stdout
    assert "Worth keeping: " in done.stdout
    assert (place / "router" / "router.json").is_file()
    assert "<svg" in (place / "router.html").read_text()
    routed = run(
        "route",
        "questions.csv",
        "--pool",
        "pool.toml",
        "--router",
        "router",
        "--store",
        "store",
        "--out",
        "r.csv",
        cwd=place,
    )
    assert routed.returncode == 0, routed.stderr
    assert set(pl.read_csv(place / "r.csv")["expert"]) <= set(three_experts.SKILLS)


@pytest.mark.parametrize("what", ["questions.csv", "SELECT leeroo_answer(question) FROM 'questions.csv'"])
def test_a_pilot_is_foreseen(place: Path, api: Any, what: str) -> None:
    """The command explain says, of a table and of a statement, what a first wave would be; nothing is sent."""
    command = ["explain", what, "--pool", "pool.toml", "--store", "store", "--max-cost-usd", "0.05"]
    shown = run(*command, "--learn", cwd=place).stdout
    [line] = [line for line in shown.splitlines() if line.startswith("  Learning: a first wave of ")]
    assert "to 3 experts" in line
    [estimate] = json.loads(run(*command, "--learn", "--json", cwd=place).stdout)["estimates"]
    assert [f"  Learning: {each}" for each in estimate["learning"]] == [line]
    [estimate] = json.loads(run(*command, "--json", cwd=place).stdout)["estimates"]
    assert estimate["learning"] == []
    assert not api.asked


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "learning spends a budget: give --max-cost-usd (alpha alone would cost about $"),
        (["--cost-weight", "5"], "give --max-cost-usd instead of weights"),
        (["--max-cost-usd", "1", "--expert", "beta"], "leave expert out"),
        (["--max-cost-usd", "1", "--judge", "nobody"], "no expert is called 'nobody'"),
        (["--max-cost-usd", "1", "--gold", "answer_key"], "the input has no column 'answer_key' for --gold"),
        (["--max-cost-usd", "1", "--save-router", "questions.csv"], "questions.csv"),
        (["--max-cost-usd", "1", "--report", "page.pdf"], "give it a name that ends in .html"),
        (["--max-cost-usd", "1", "--column", "text"], "the input has no column 'text'"),
    ],
)
def test_mistakes_in_learning_are_one_line(place: Path, api: Any, options: list[str], line: str) -> None:
    """A wrong option of run --learn is one line, and no expert is called."""
    _refuse(place, api, [*RUN, "--learn", *options], line)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--gold", "truth"], "are for --learn: add it"),
        (["--judge", "alpha"], "are for --learn: add it"),
        (["--save-router", "router"], "are for --learn: add it"),
        (["--report", "page.html"], "are for --learn: add it"),
    ],
)
def test_options_of_learning_need_it(place: Path, api: Any, options: list[str], line: str) -> None:
    """An option that only --learn reads is refused without it."""
    _refuse(place, api, [*RUN, *options], line)


def test_a_pool_of_one_expert_learns_nothing(place: Path, api: Any) -> None:
    """A pool of one expert is refused, by run, learn and explain."""
    one = (place / "pool.toml").read_text().split("[[expert]]")
    (place / "pool.toml").write_text("[[expert]]".join(one[:2]))
    line = "the pool has one: add another [[expert]]"
    _refuse(place, api, [*RUN, "--learn", "--max-cost-usd", "1"], line)
    _refuse(place, api, [*LEARN, "--budget", "1", "--out", "router"], line)
    explain = ["explain", "questions.csv", "--pool", "pool.toml", "--store", "store", "--learn", "--max-cost-usd", "1"]
    _refuse(place, api, explain, line)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--gold", "answer_key"], "the input has no column 'answer_key' for --gold"),
        (["--judge", "nobody"], "no expert is called 'nobody'"),
        (["--out", "questions.csv"], "questions.csv"),
        (["--report", "page.pdf"], "give it a name that ends in .html"),
    ],
)
def test_mistakes_in_the_command_learn_are_one_line(place: Path, api: Any, options: list[str], line: str) -> None:
    """A wrong option of leeroo learn is one line, and no expert is called."""
    out = [] if "--out" in options else ["--out", "router"]
    _refuse(place, api, [*LEARN, "--budget", "1", *out, *options], line)


def test_a_budget_that_is_too_small_to_learn_from(place: Path) -> None:
    """The command learn says in one line why there is no router."""
    done = run(*LEARN, "--budget", "0.0002", "--out", "router", cwd=place)
    assert done.returncode == 2
    assert "too little" in done.stderr or "no router was trained" in done.stderr or "only " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "router").exists()


def test_a_statement_that_learns_is_explained_with_a_budget(place: Path, api: Any) -> None:
    """Explaining a statement as one that learns needs a budget, as the statement does."""
    explain = ["explain", "SELECT leeroo_answer('x')", "--pool", "pool.toml", "--store", "store", "--learn"]
    _refuse(place, api, explain, "learning spends a budget: give --max-cost-usd")


def _refuse(place: Path, api: Any, command: list[str], line: str) -> None:
    done = run(*command, cwd=place)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not api.asked


def test_answers_without_a_text_are_learned_from(pool_file: Path, data_folder: Path, tmp_path: Path) -> None:
    """Recorded outcomes may have scores alone: a run that learns ends with a row for each question."""
    outcomes = pq.read_table(data_folder / "outcomes.parquet")
    nothing = pa.nulls(len(outcomes), pa.string())
    pq.write_table(outcomes.set_column(3, "response", nothing), data_folder / "outcomes.parquet")
    given = ("run", data_folder / "queries.parquet", "--column", "question", "--prefix", "r_", "--pool", pool_file)
    done = run(*given, "--learn", "--max-cost-usd", "0.5", "--out", "o.parquet", "--store", "s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 40
