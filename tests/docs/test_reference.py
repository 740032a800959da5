"""Every command, option, function, name, key, column, variable, code and route is in the reference pages."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from fastapi.routing import APIRoute
from pydantic import BaseModel
from typer.testing import CliRunner

import leeroo
from leeroo.api.options import RunOptions
from leeroo.cli.main import app
from leeroo.engine.answer import Criteria, Progress
from leeroo.engine.backends import select
from leeroo.engine.orchestrator.outcomes import read
from leeroo.engine.pool import Cluster, Expert, Pool, load_pool
from leeroo.engine.schema import ANSWERS, EXPERTS, LABELLED, OUTCOMES, QUERIES, ROUTES, SOLVED, STEP
from leeroo.serve.web import api, feedback, page
from leeroo.udfs.functions.signatures import TAKES, VARIABLES
from leeroo.udfs.register import StatementOptions
from tests.docs import site

# Keys of an expert that no file has: they are computed.
COMPUTED = {"list_price", "adapters"}


def _commands(command: Any, name: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = [each for sub, its in getattr(command, "commands", {}).items() for each in _commands(its, (*name, sub))]
    return [name, *below]


@pytest.mark.parametrize("command", _commands(typer.main.get_command(app)), ids=" ".join)
def test_a_command_is_there_with_every_option_of_its_help(command: tuple[str, ...]) -> None:
    """The section of a command holds all that `--help` prints of it."""
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"})
    assert shown.exit_code == 0
    rows = re.findall(r"^[\s│*]*(-{1,2}[a-z].*)$", shown.output, flags=re.MULTILINE)
    options = {option for row in rows for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", row.split("  ")[0])}
    text = site.page("reference/command-line").text
    heading = "leeroo " + " ".join(command) if command else "leeroo"
    assert re.sub(r"\W+", "-", heading) in site.page("reference/command-line").anchors
    section = text[text.index(f"{heading}¶") :].split("¶")[1]
    assert options - {"--help"} - set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section)) == set()


def test_every_public_name_is_in_the_python_reference() -> None:
    """Each has an anchor, and a docstring below it."""
    shown = site.page("reference/python")
    assert {f"leeroo.{name}" for name in leeroo.__all__} - shown.anchors == set()
    for name in leeroo.__all__:
        text = inspect.getdoc(getattr(leeroo, name)) if not name.startswith("_") else ""
        assert " ".join((text or "").split("\n")[0].replace("`", "").split()) in shown.text, name


@pytest.mark.parametrize("options", [Criteria, Progress, RunOptions, StatementOptions])
def test_every_option_and_figure_of_python_is_explained(options: type) -> None:
    """The docstring of each group of names explains every one of them."""
    explained = set(re.findall(r"^ {4}(\w+): ", inspect.getdoc(options) or "", flags=re.MULTILINE))
    assert set(options.__annotations__) - explained == set()
    assert f"{options.__module__}.{options.__name__}" in {
        *site.page("reference/python").anchors,
        *(f"{getattr(leeroo, name).__module__}.{name}" for name in leeroo.__all__ if name[0].isupper()),
    }


def test_every_function_argument_and_variable_of_sql_is_in_the_table() -> None:
    """The tables of the first page hold them all."""
    with leeroo.connect() as con:
        query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name LIKE 'leeroo%'"
        functions = {name for (name,) in con.execute(query).fetchall()}
        query = "SELECT DISTINCT unnest(parameters) FROM duckdb_functions() WHERE function_name LIKE 'leeroo%'"
        arguments = {name for (name,) in con.execute(query).fetchall()}
    positional = {
        "condition",
        "quality",
        "question",
        "fields",
        "choices",
        "text",
        "labels",
        "json_schema",
        "questions",
        "a",
        "b",
    }
    positional |= {"task", "texts", "left", "right", "table", "criterion"}
    assert len(functions) > 10
    shown = site.first_cells("reference/sql/index")
    names = {re.split(r"[(\s]", cell.removeprefix("FROM "))[0] for cell in shown}
    assert functions - names == set()
    assert arguments - positional - shown == set()
    assert {name for names in TAKES.values() for name in names} - shown == set()
    assert {f"leeroo_{name}" for name in VARIABLES} - shown == set()


def test_every_key_of_a_pool_file_is_there() -> None:
    """Keys of the file, of an expert, of each backend's options, and of a cluster."""
    keys = {"default", "expert"} | (Expert.model_fields.keys() - COMPUTED) | Cluster.model_fields.keys()
    assert Pool.model_fields.keys() == {"default", "experts", "embedders"}
    for kind in select._KINDS.values():
        keys |= kind.options.model_fields.keys()
    assert len(keys) > 45
    assert keys - site.first_cells("reference/pool-file") == set()


def test_defaults_of_a_pool_file_are_as_shown() -> None:
    """A default that is a number or a text stands in the row of its key."""
    rows = [line for line in site.source("reference/pool-file").splitlines() if line.startswith("| `")]
    models: list[type[BaseModel]] = [Expert, Cluster, *(kind.options for kind in select._KINDS.values())]
    for model in models:
        for name, field in model.model_fields.items():
            if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
                if name in ("location",):  # follows the backend
                    continue
                shown = f'"{field.default}"' if isinstance(field.default, str) else f"{field.default:g}"
                assert any(f"`{name}`" in row and shown in row for row in rows), (name, shown)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("answers-table", ANSWERS),
        ("answers-table", ROUTES),
        ("answers-table", LABELLED),
        ("answers-table", SOLVED),
        ("data-folder", QUERIES),
        ("data-folder", OUTCOMES),
        ("data-folder", EXPERTS),
    ],
)
def test_every_column_of_a_public_table_is_there_with_its_type(name: str, table: pa.Schema) -> None:
    """Names and types are those of the schema."""
    rows = [line for line in site.source(f"reference/{name}").splitlines() if line.startswith("| `")]
    for field in table:
        kind = (
            str(field.type)
            .replace("list<element: string>", "list<string>")
            .replace("list<item: string>", "list<string>")
        )
        kind = (
            "list of structs"
            if kind.startswith("list<element: struct") or kind.startswith("list<item: struct")
            else kind
        )
        shown = kind.replace("<", "&lt;").replace(">", "&gt;")
        assert any(f"`{field.name}`" in row.split("|")[1] and shown in row for row in rows), (field.name, shown)
    if table is SOLVED:
        [steps] = [row for row in rows if row.startswith("| `steps`")]
        assert {field.name for field in STEP} <= set(steps.split("`"))


def test_required_columns_of_a_data_folder_are_marked() -> None:
    """Those without which a folder is refused have a star."""
    text = site.source("reference/data-folder")
    for table, columns in read._COLUMNS.items():
        section = text.split(f"## {table}.parquet")[1].split("\n## ")[0]
        starred = set(re.findall(r"^\| `(\w+)` \*", section, flags=re.MULTILINE))
        assert starred == {column for column, _, needed in columns if needed}


def _constants() -> set[str]:
    """Return all texts in the code that look like the name of an environment variable, where the environment is read."""
    found = set()
    for folder in ("leeroo", "engine", "udfs"):
        for file in sorted((site.ROOT / folder).rglob("*.py")):
            text = file.read_text("utf-8")
            # The sandbox names limits and capabilities of the kernel, which look the same.
            if ("environ" in text or "envvar" in text or "variable" in text) and file.name != "sandbox.py":
                nodes = ast.walk(ast.parse(text))
                found |= {
                    node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    return {text for text in found if re.fullmatch(r"[A-Z][A-Z0-9]+(_[A-Z0-9]+)+", text)}


def test_every_environment_variable_is_there() -> None:
    """Those whose names stand in the code, and the one of tests and benches."""
    names = _constants() | {"LEEROO_DATA"}
    assert {"LEEROO_STORE", "LEEROO_CACHE", "LEEROO_VECTORS_GIB", "OPENAI_API_KEY", "VLLM_NO_USAGE_STATS"} <= names
    assert names - site.first_cells("reference/environment") == set()


def test_every_exit_code_is_there() -> None:
    """The constants of the code, and 0."""
    codes = {"0"}
    for file in (site.ROOT / "leeroo").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Assign):
                targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                for target, value in zip(targets, values, strict=False):
                    if isinstance(target, ast.Name) and target.id.startswith("EXIT_"):
                        codes.add(str(ast.literal_eval(value)))
    assert codes == set(re.findall(r"^\| (\d+) \|", site.source("reference/exit-codes"), flags=re.MULTILINE))


def test_every_route_of_the_server_is_there() -> None:
    """With its method, except those of the page, which are listed with it."""
    text = site.source("reference/http")
    for router in (api.router, feedback.router):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            assert any(f"`{method} {route.path}`" in text for method in route.methods), route.path
    for route in page.router.routes:
        assert isinstance(route, APIRoute)
        assert f"{route.path}`" in text, route.path


def test_every_extra_is_in_the_installation_page() -> None:
    """Each is named, and those of today have a row that says what they add."""
    project = tomllib.loads((site.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].keys()
    assert extras - set(site.source("start/install").split("`")) == set()
    assert {"api", "local", "gpu", "serve", "ray", "all"} <= site.first_cells("start/install") & extras


POOLS = [
    (name, block)
    for name in ("reference/pool-file", "how-to/use-an-api", "how-to/write-prompts", "how-to/pay-half-with-batches")
    for block in re.findall(r"```toml\n(.*?)```", site.source(name), flags=re.DOTALL)
    if "[[expert]]" in block
]


@pytest.mark.parametrize(("name", "block"), POOLS)
def test_pools_of_the_pages_load(name: str, block: str, tmp_path: Path) -> None:
    """Keys, values and prices of each are known."""
    (tmp_path / "pool.toml").write_text(block)
    assert load_pool(tmp_path / "pool.toml").experts


def test_the_example_of_a_data_folder_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program writes a folder that the commands read, and that the pool of the page replays."""
    monkeypatch.chdir(tmp_path)
    page = site.source("reference/data-folder")
    [program] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(program, {})
    commands = re.findall(r"^    leeroo (.*)$", page, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        done = CliRunner().invoke(app, command.split())
        assert done.exit_code == 0, done.output
    assert (tmp_path / "router" / "router.json").is_file()
    assert pq.read_table("outcomes/outcomes.parquet").num_rows == 24
    [pool] = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "pool.toml").write_text(pool)
    questions = pq.read_table("outcomes/queries.parquet").select(["question"])
    answers = leeroo.answer(questions, pool="pool.toml", router="none", store=tmp_path / "store")
    assert answers["recorded_score"].to_pylist() == [1.0] * 12
