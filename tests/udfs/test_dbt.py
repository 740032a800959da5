"""leeroo.udfs.dbt: models of the real dbt, run over recorded outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.cli.main import dbtRunner
from dbt_common.exceptions import DbtRuntimeError

DidSince = Callable[[], Any]

# 5,000 rows are three vectors of DuckDB's, and each of them has questions that no other has.
QUESTIONS = "SELECT i AS id, 'What is ' || i // 125 || ' plus ' || i // 125 || '?' AS question FROM range(5000) r(i)"
CONFIG = "{pool: ../pool.toml, store: ../store}"


class Project:
    """A dbt project in a folder, whose tables are in a database file beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder.with_name("my.duckdb")
        (folder / "models").mkdir(parents=True)
        (folder / "dbt_project.yml").write_text(
            "{name: said, version: '1.0', profile: said, models: {said: {+materialized: table}}}"
        )
        self.configure(CONFIG)

    def configure(self, config: str, **output: object) -> None:
        """Write profiles.yml: the plugin's config, and more keys of the output."""
        more = "".join(f", {key}: {value}" for key, value in output.items())
        (self.folder / "profiles.yml").write_text(
            f"""
            said:
              target: dev
              outputs:
                dev: {{type: duckdb, path: ../my.duckdb, plugins: [{{module: leeroo.udfs.dbt, config: {config}}}]{more}}}
            """
        )

    def model(self, name: str, text: str) -> None:
        """Write a model: in SQL, or in Python where its name ends so."""
        (self.folder / "models" / (name if name.endswith(".py") else f"{name}.sql")).write_text(text)

    def run(self) -> list[str]:
        """Return what `dbt run` says of each model that failed, or of itself."""
        done: Any = dbtRunner().invoke(["--quiet", "run"])
        if done.exception is not None:
            return [str(done.exception)]
        return [str(result.message) for result in done.result if result.status != "success"]

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query over what the models made, without our functions."""
        with duckdb.connect(str(self.database)) as con:
            return con.execute(query).fetchall()


@pytest.fixture
def project(tmp_path: Path, pool_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Return a project whose plugin answers with recorded outcomes, with a model `questions`."""
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    project = Project(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    project.model("questions", QUESTIONS)
    yield project
    DuckDBConnectionManager.close_all_connections()


@pytest.mark.parametrize("output", [{}, {"disable_transactions": "true"}])
def test_a_model_is_one_batch(project: Project, did: DidSince, output: dict[str, str]) -> None:
    """A model of 5,000 rows is answered as one batch, whether dbt runs it inside BEGIN and COMMIT or not."""
    project.configure(CONFIG, **output)
    project.model("answers", "SELECT id, leeroo_answer(question) AS a FROM {{ ref('questions') }}")
    assert project.run() == []
    assert project.rows("SELECT id, a FROM answers ORDER BY id") == [
        (i, f"large says {i // 125 * 2}") for i in range(5000)
    ]
    assert did() == (1, 40)


def test_a_project_of_many_kinds(project: Project, did: DidSince) -> None:
    """Models in several threads, views, models that use answers, and models in Python: each question is paid for once."""
    project.configure(CONFIG, threads=4)
    for expert in ("large", "small"):
        call = f"leeroo_answer(question, expert := '{expert}')"
        project.model(f"asked_{expert}", f"SELECT id, {call} AS a FROM {{{{ ref('questions') }}}}")
        project.model(f"counted_{expert}", f"SELECT count(DISTINCT a) AS n FROM {{{{ ref('asked_{expert}') }}}}")
    project.model(
        "seen",
        "{{ config(materialized='view') }} SELECT leeroo_answer(question) AS a FROM {{ ref('questions') }} WHERE id = 125",
    )
    project.model(
        "used", "SELECT leeroo_answer('What is ' || split_part(a, ' ', 3) || ' plus 2?') AS a FROM {{ ref('seen') }}"
    )
    project.model(
        "in_python.py",
        """
def model(dbt, session):
    dbt.config(materialized="table")
    few = dbt.ref("questions").filter("id % 1250 = 0")
    return session.sql("SELECT id, leeroo_answer(question) AS a FROM few ORDER BY id")
""",
    )
    assert project.run() == []
    assert project.rows("SELECT l.n, s.n FROM counted_large l, counted_small s") == [(40, 40)]
    assert project.rows("SELECT count(*) FROM asked_small WHERE a = 'small says ' || id // 125 * 2") == [(5000,)]
    assert project.rows("FROM used") == [("large says 4",)]
    assert project.rows("FROM in_python") == [(i * 1250, f"large says {i * 20}") for i in range(4)]
    # Asked of 'large' and of whichever expert is chosen, an answer of 'large' is one.
    assert did().generated == 80


def test_an_incremental_model_sends_only_new_rows(project: Project, did: DidSince) -> None:
    """A second run sends only the rows that came since, on a new connection too."""
    project.configure(CONFIG, keep_open="false", settings="{threads: 2}", retries="{query_attempts: 2}")
    project.model(
        "answers",
        """{{ config(materialized='incremental', unique_key='id') }}
        SELECT id, leeroo_answer(question) AS a FROM {{ ref('questions') }}
        {% if is_incremental() %} WHERE id > (SELECT max(id) FROM {{ this }}) {% endif %}""",
    )
    project.model("questions", f"{QUESTIONS} WHERE i < 1250")
    assert project.run() == []
    assert did().generated == 10
    project.model("questions", f"{QUESTIONS} WHERE i < 2500")
    assert project.run() == []
    assert project.rows("SELECT count(*), count(DISTINCT a), max(id) FROM answers") == [(2500, 20, 2499)]
    assert did().generated == 10


def test_the_budget_is_each_models(project: Project, pool_file: Path) -> None:
    """A budget in the config holds for every model anew: what it does not reach is NULL, with the reason."""
    # One expert, whose answers are as long as its limit, so that no row can move to a cheaper one.
    pool_file.write_text(pool_file.read_text().split('[[expert]]\nname = "small"')[0] + "max_tokens = 5\n")
    project.configure(f"{{pool: ../pool.toml, store: ../store, max_cost_usd: {10.5 * 15 * 100 / 1e6}}}")
    for i in range(2):
        project.model(
            f"said_{i}", f"SELECT leeroo(question) AS a FROM {{{{ ref('questions') }}}} WHERE id // 2500 = {i}"
        )
    assert project.run() == []
    for i in range(2):
        count = (
            "SELECT count(DISTINCT a.answer), count(*) FILTER (a.answer IS NULL AND a.error LIKE 'the budget of %') > 0"
        )
        ((answered, reported),) = project.rows(f"{count} FROM said_{i}")
        assert (8 <= answered <= 10, reported) == (True, True)


def test_a_model_without_answers_is_in_dbts_log(project: Project) -> None:
    """dbt's own log has the line with the count and the reason; the model is made."""
    project.model("said", "SELECT id, leeroo_answer('unknown ' || id) AS a FROM {{ ref('questions') }} WHERE id < 2")
    assert project.run() == []
    log = (project.folder / "logs" / "dbt.log").read_text()
    assert log.count("leeroo_answer: 2 of 2 questions asked have no answer and are NULL") == 1


def test_a_model_without_answers_fails_where_that_is_wanted(project: Project) -> None:
    """on_error: fail in the config ends the model with the same line, and makes no table."""
    project.configure(f"{CONFIG[:-1]}, on_error: fail}}")
    project.model("said", "SELECT id, leeroo_answer('unknown ' || id) AS a FROM {{ ref('questions') }} WHERE id < 2")
    (said,) = project.run()
    assert "leeroo_answer: 2 of 2 questions asked have no answer" in said
    assert project.rows("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'said'") == [(0,)]


def test_an_incremental_model_sends_failed_rows_again(project: Project, pool_file: Path) -> None:
    """The model of the documentation sends rows without an answer again, and no others."""
    whole = pool_file.read_text()
    pool_file.write_text(whole.split('[[expert]]\nname = "small"')[0] + "max_tokens = 5\n")
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "use-dbt-and-notebooks.md").read_text()
    model = page.split("call the functions in models")[1].split("```sql\n")[1].split("```")[0]
    project.model("answers", model)
    project.model("questions", QUESTIONS + " WHERE i % 125 = 0")
    project.configure(f"{CONFIG[:-1]}, max_cost_usd: {10.5 * 15 * 100 / 1e6}}}")
    assert project.run() == []
    ((few,),) = project.rows("SELECT count(answer) FROM answers")
    assert few < 40
    DuckDBConnectionManager.close_all_connections()
    project.configure(CONFIG)
    assert project.run() == []
    assert project.rows("SELECT count(answer), count(*) FROM answers") == [(40, 40)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"poool": "x"},
            "unknown key 'poool' in config; there are: pool, router, store, max_cost_usd, cost_weight, latency_weight, "
            "deadline, "
            "on_error, on_expert_down",
        ),
        ({"pool": "nowhere.toml"}, "cannot read the pool file nowhere.toml: No such file or directory"),
        ({"pool": ["a", "b"]}, "pool = ['a', 'b'] in config: input should be a valid string"),
        ({"max_cost_usd": "lots"}, "max_cost_usd = 'lots' in config: input should be a valid number, unable to parse"),
        ({"max_cost_usd": 1, "cost_weight": 1}, "give a budget (max_cost_usd) or a cost_weight, not both"),
    ],
)
def test_a_wrong_config_is_one_line(config: dict[str, object], message: str) -> None:
    """A mistake in the config is one line that names the plugin and its file."""
    with pytest.raises(DbtRuntimeError) as raised:
        BasePlugin.create("leeroo.udfs.dbt", config=config)
    assert raised.value.msg.startswith(f"plugin leeroo.udfs.dbt in profiles.yml: {message}")
    assert "\n" not in raised.value.msg


def test_dbt_shows_the_line(project: Project) -> None:
    """A wrong config ends dbt before any model runs, with our line and no traceback."""
    project.configure("{pool: ../pool.toml, stoer: ../store}")
    (said,) = project.run()
    assert said.splitlines()[-1].strip().startswith("plugin leeroo.udfs.dbt in profiles.yml: unknown key 'stoer'")
    assert "Traceback" not in said


def test_a_wrong_model_is_one_line(project: Project, did: DidSince) -> None:
    """A wrong argument fails its model with our sentence, and no other model."""
    project.model("wrong", "SELECT leeroo_answer(question, expert := 'huge') AS a FROM {{ ref('questions') }}")
    project.model("fine", "SELECT leeroo_answer(question) AS a FROM {{ ref('questions') }} WHERE id = 0")
    (said,) = project.run()
    assert "leeroo_answer: expert 'huge' is not in the pool, which has: large, small" in said
    assert project.rows("FROM fine") == [("large says 0",)]
    assert did().generated == 1
