"""The command that writes a pool file: init."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli.setup.pool_text import EMBEDDED, pool_text
from leeroo.cli.setup.providers import Provider, providers
from leeroo.engine.errors import LeerooError, OutputError, UsageError

if TYPE_CHECKING:
    from leeroo.engine.pool import Pool

_NONE = "none"
_BUDGET_USD = 1.0
# Rows of a table that are read to find the column with the questions.
_ROWS_SEEN = 100


def init(
    provider: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Provider, such as openai; repeat for several, 'none' for none."),
    ] = None,
    local: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Local model: embedded, a hub id, a folder or a GGUF file; repeat for several, 'none' for none.",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="INPUT", help="Table that you want answered, for the command at the end.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="Budget of a run.", show_default=f"{_BUDGET_USD:.2f}")
    ] = None,
    out: Annotated[Path, typer.Option(help="Pool file to write.")] = Path("pool.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="Use the defaults without questions.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a pool file with your models: four questions, or none where options answer them.

    Defaults follow from what is set here: providers whose API key is in the environment, else the embedded model.
    """
    from leeroo.engine.pool import load_pool
    from leeroo.engine.tables.outputs import check_file, write_file

    check_file(out, ".toml")
    if out.exists() and not force:
        raise OutputError(f"{out} exists: name another file with --out, or replace it with --force")
    interactive = not yes and sys.stdin.isatty()
    with_key = [each.name for each in providers().values() if each.has_key]
    chosen = _answer(
        f"1/4  Which providers? {_choices()}", ",".join(with_key) or _NONE, provider, _providers, interactive
    )
    models = _answer(
        "2/4  Which local models? embedded (small, answers offline), a hub id, a folder or a GGUF file",
        _NONE if chosen else EMBEDDED,
        local,
        _models,
        interactive,
    )
    if not chosen and not models:
        raise UsageError("a pool needs an expert: name a provider (--provider) or a local model (--local embedded)")
    column = _answer(
        "3/4  Which table? Parquet, CSV or JSON lines", _NONE, None if table is None else [table], _table, interactive
    )
    usd = _answer(
        "4/4  Budget of a run, in USD",
        f"{_BUDGET_USD:.2f}",
        None if budget is None else [str(budget)],
        _usd,
        interactive,
    )
    explain, run = _commands(out, column, usd if chosen else None, learn=bool(chosen))
    write_file(pool_text(chosen, models, out, explain, run), out)
    _print_next(load_pool(out), out, explain, run)


def _answer(
    question: str, default: str, given: Sequence[str] | None, read: Callable[[str], Any], interactive: bool
) -> Any:
    """Return the answer of a question as it is read: that of an option, of a person, or the default.

    A person who gives a wrong answer gets the question again.
    """
    from leeroo.reports.terminal import say

    if given is not None or not interactive:
        return read(default if given is None else ",".join(given))

    def read_again(text: str) -> Any:
        try:
            return read(text)
        except LeerooError as error:
            raise typer.BadParameter(str(error)) from error

    say(question, stderr=True)
    return typer.prompt("    ", default=default, value_proc=read_again, err=True, prompt_suffix=" ")


def _choices() -> str:
    return ", ".join(f"{each.name} (key set)" if each.has_key else each.name for each in providers().values())


def _listed(text: str) -> list[str]:
    """Return the parts of a list with commas between, each once; none where it says so."""
    parts = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    return [] if parts == [_NONE] else parts


def _providers(text: str) -> list[Provider]:
    known = {each.casefold(): each for each in _listed(text)}
    for name, written in known.items():
        if name not in providers():
            raise UsageError(f"no provider is called {written!r} here; there are {', '.join(providers())}")
    return [providers()[name] for name in known]


def _models(text: str) -> list[str]:
    models = _listed(text)
    for model in models:
        is_path = model.startswith((".", "/", "~")) or model.endswith(".gguf") or model.count("/") > 1
        if is_path and not Path(model).expanduser().exists():
            raise UsageError(f"there is no model in {model}: name a folder, a GGUF file, or a hub id such as org/model")
    return models


def _table(text: str) -> tuple[str, str] | None:
    """Return a table and the column of it that looks most like questions."""
    from leeroo.engine.tables import open_input

    if text in ("", _NONE):
        return None
    import pyarrow as pa

    rows = open_input(text, _ROWS_SEEN).read_all()
    texts = [name for name in rows.column_names if pa.types.is_string(rows.schema.field(name).type)]
    if not texts:
        raise UsageError(f"{text} has no column of text; its columns are: {', '.join(rows.column_names)}")
    lengths = {name: sum(len(value or "") for value in rows.column(name).to_pylist()) for name in texts}
    return text, "question" if "question" in texts else max(texts, key=lambda name: lengths[name])


def _usd(text: str) -> float | None:
    try:
        usd = float(text.lstrip("$"))
    except ValueError as error:
        raise UsageError(f"a budget is a number of USD such as 2.50, not {text!r}") from error
    if not 0 <= usd < float("inf"):
        raise UsageError(f"a budget is a number of USD such as 2.50, not {text!r}")
    return usd


def _commands(out: Path, table: tuple[str, str] | None, budget: float | None, *, learn: bool) -> tuple[str, str]:
    """Return the commands that estimate a run and that run, as a shell takes them.

    Nothing is known yet of the experts of a new pool: several of them are worth trying out.
    """
    source, column = table or ("questions.csv", "question")
    where = [source, "--pool", str(out), *([] if column == "question" else ["--column", column])]
    if budget is not None:
        where += ["--max-cost-usd", f"{budget:g}", *(["--learn"] if learn and budget > 0 else [])]
    return shlex.join(["leeroo", "explain", *where]), shlex.join(["leeroo", "run", *where, "--out", "answers.parquet"])


def _print_next(pool: Pool, out: Path, explain: str, run: str) -> None:
    """Print the experts, what they lack, and the commands to go on with."""
    from leeroo.cli.experts import print_experts
    from leeroo.engine.backends.select import facts
    from leeroo.reports.terminal import say

    listed = [facts(expert, pool) for expert in pool.experts]
    print_experts(listed)
    for reason in dict.fromkeys(each["unavailable"] for each in listed if each["unavailable"]):
        say(f"missing: {reason} ({', '.join(e['expert'] for e in listed if e['unavailable'] == reason)})")
    print(f"\nwritten: {out}\n\nNext:")
    for command in (explain, run):
        print("  " + _to_paste(command))


def _to_paste(command: str) -> str:
    """Return a command for a shell; on a terminal too narrow for it in several lines, which can be pasted too."""
    from rich.console import Console

    from leeroo.reports.terminal import wrap

    console = Console()
    if not console.is_terminal:
        return command
    # No line ends within quotes, or between an option and its value.
    words = " ".join(shlex.quote(word).replace(" ", "\0") for word in shlex.split(command))
    words = re.sub(r"(--[a-z-]+) (?=[^-])", "\\1\0", words)
    lines = wrap(words, max(console.width - 10, 20))
    return " \\\n      ".join(lines).replace("\0", " ")
