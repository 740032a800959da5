"""The examples run, and their tables and the embedded local pool are what the docs say they are."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from leeroo.engine.orchestrator.router import Router
from leeroo.engine.pool import DEFAULT_POOL, DEFAULT_ROUTER, load_pool
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = EXAMPLES / "local" / "data"


def test_the_recorded_tables_keep_to_the_contracts() -> None:
    """Schemas, at least 400 distinct questions with checkable answers, an outcome of each expert for each."""
    queries, outcomes = (pq.read_table(DATA / f"{name}.parquet") for name in ("queries", "outcomes"))
    assert queries.schema.equals(QUERIES)
    assert outcomes.schema.equals(OUTCOMES)
    assert pq.read_schema(DATA / "experts.parquet").equals(EXPERTS)
    questions = queries.column("question").to_pylist()
    assert len(questions) == len(set(questions)) >= 400
    assert all(answer.strip() for answer in queries.column("answer").to_pylist())
    assert outcomes.num_rows == 2 * len(questions)
    assert set(outcomes.column("score").to_pylist()) == {0.0, 1.0}


def test_the_demo_has_questions_that_the_router_has_not_learned() -> None:
    """The 60 questions are of the test split."""
    queries = pq.read_table(DATA / "queries.parquet").to_pylist()
    learned = {row["question"] for row in queries if row["split"] == "train"}
    asked = pq.read_table(EXAMPLES / "questions.parquet").column("question").to_pylist()
    assert len(asked) == 60
    assert learned.isdisjoint(asked)


def test_the_router_knows_the_local_pool() -> None:
    """It predicts a probability for both experts, and that reasoning writes more."""
    router, pool = Router.load(DEFAULT_ROUTER), load_pool(DEFAULT_POOL)
    assert set(router.experts) == set(pool.names)
    predicted = router.predict(["What is the capital of France?", "Tom has 3 pens and buys 4. How many has he?"])
    assert ((predicted.scores > 0) & (predicted.scores < 1)).all()
    direct, reason = (router.experts.index(name) for name in ("smollm2-direct", "smollm2-reason"))
    assert (predicted.completion_tokens[:, reason] > predicted.completion_tokens[:, direct]).all()


# What a script of examples/ prints, beside ending without an error.
_PRINTS = {
    "answer": r"60 rows: \$0\.0000\d+ by list price, \$0\.0000\d+ paid now",
    "extract": r"│ +0 │ .+ │ +[1-5] │\n│ +1 │ .+ │ +[1-5] │\n│ +2 │ NULL +│ +NULL │",
    "feedback": r"a router from 469 judged questions: smollm2-direct, smollm2-reason",
    "label": r"\d+ of 24 labels are those of people",
    "learn_while_answering": r"smollm2-reason answered \d+ rows\n.*\nreally right: +\d+%",
    "meaning": r"│ +1 │ +0\.46 │ I was charged twice[\s\S]*│ account │ +2 │[\s\S]*│ +id +│ representative │",
    "records": r"Five stars\. -> .+ ([1-5]|None)\n[\s\S]*None -> None None\n(glad|angry) 0\.\d+ (True|False)",
    "serve": r"0 To solve this problem.*'expert': 'smollm2-direct'.*\n1 The answer is 35",
    "solve": r"1\. What is the capital of Italy\?\n.*\n2\. Name a famous building",
    "sql": r"60 rows, 60 distinct prompts[^│]*[\s\S]*word problems",
    "train_router": r"budget \$0\.00005: \d+% right, \d+ of 60 rows[\s\S]*budget \$0\.00015",
}


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the examples as they are committed; answers go to a store of the test."""
    monkeypatch.setenv("LEEROO_STORE", str(tmp_path / "store"))
    copied = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copied, ignore=shutil.ignore_patterns("out", "target", "logs", "answers", "*.duckdb"))
    return copied


def test_every_script_is_run_and_listed() -> None:
    """A script without a test, or without a line in the list of examples, is missing here."""
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    assert scripts == set(_PRINTS)
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    assert {path.name for path in EXAMPLES.iterdir() if f"({path.name})" not in listed} <= {
        "README.md",
        "out",
        "questions.parquet",
        "tickets.csv",
    }


@pytest.mark.parametrize("script", sorted(_PRINTS))
def test_a_script_runs_without_a_key(
    script: str, examples: Path, models_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each script ends without an error and prints what it is for."""
    runpy.run_path(str(examples / f"{script}.py"), run_name="__main__")
    assert re.search(_PRINTS[script], capsys.readouterr().out)


_RUN_CELLS = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        shell.run_cell("".join(cell["source"])).raise_error()
"""


@pytest.mark.parametrize("notebook", sorted(path.name for path in EXAMPLES.glob("*.ipynb")))
def test_a_notebook_runs(notebook: str, examples: Path) -> None:
    """Every cell of a notebook runs, in order, and the outputs that are kept are no errors."""
    kept = json.loads((examples / notebook).read_text("utf-8"))
    outputs = [output for cell in kept["cells"] for output in cell.get("outputs", [])]
    assert outputs
    assert all(output["output_type"] != "error" for output in outputs)
    command = [sys.executable, "-c", _RUN_CELLS, notebook]
    done = subprocess.run(command, cwd=examples, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dbt_project_builds(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its models and tests pass, and the second build answers nothing anew."""
    monkeypatch.chdir(examples / "dbt")
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    for _ in range(2):
        done: Any = dbtRunner().invoke(["--quiet", "build", "--profiles-dir", "."])
        assert done.success, done.exception or [result.message for result in done.result]
    DuckDBConnectionManager.close_all_connections()
    with duckdb.connect(str(examples / "dbt" / "tickets.duckdb")) as con:
        assert con.execute("SELECT sum(questions), sum(answered) FROM spend_by_subject").fetchone() == (60, 60)
