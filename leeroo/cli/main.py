"""The `leeroo` command: an app of all command families, and the program that runs it."""

from __future__ import annotations

import io
import sys

import typer

from leeroo.cli import (
    analysis,
    experts,
    label,
    learn,
    mmlu,
    router,
    run,
    selfplay,
    serve,
    sql,
)
from leeroo.cli.options import EXIT_ROWS_FAILED, EXIT_USAGE, in_options
from leeroo.cli.records import spending, store
from leeroo.engine.errors import LeerooError, RowsFailed
from leeroo.interrupts import interrupted, interrupts

app = typer.Typer(
    name="leeroo",
    help="Answer a table of questions, each with the model that answers it best for its cost.",
    epilog="Start here:  leeroo run questions.parquet --out answers.parquet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# In the order of the help, with an example of each.
for command, example in (
    (run.run, "run tickets.csv --column text --out answers.parquet --max-cost-usd 2.50"),
    (run.status, "status --store answers/"),
    (run.route, "route questions.parquet --out routes.parquet --max-cost-usd 1"),
    (sql.sql, """sql "SELECT leeroo_answer(question) FROM 'questions.parquet'" """),
    (sql.explain, """explain "SELECT leeroo_answer(question) FROM 'questions.parquet'" """),
    (experts.experts, "experts --pool pool.toml"),
    (experts.routers, "routers --pool pool.toml"),
    (mmlu.mmlu, "mmlu --limit 1000 --out mmlu.parquet --report mmlu.html"),
    (label.label, "label tickets.csv --column text --labels billing,bug,other --out labelled.csv"),
    (store.feedback, "feedback answers.parquet --gold right_answer"),
    (run.solve, "solve questions.parquet --out solved.parquet --max-cost-usd 2.50"),
    (learn.learn, "learn questions.csv --pool pool.toml --budget 3 --out router/"),
    (router.train, "train --data outcomes/ --out router/"),
    (analysis.evaluate, "evaluate --router router/ --data outcomes/ --report evaluation.html"),
    (analysis.select_experts, "select-experts --data outcomes/ -k 6"),
    (analysis.gaps, "gaps --data outcomes/ --plot gaps.svg"),
    (spending.spend, "spend --by day,expert"),
    (serve.serve, "serve --pool pool.toml --router router/ --port 8080"),
):
    app.command(epilog=f"Example:  leeroo {example}")(command)
app.add_typer(analysis.outcomes_app, name="outcomes")
app.add_typer(router.router_app, name="router")
app.add_typer(selfplay.selfplay_app, name="selfplay")
app.add_typer(serve.keys_app, name="keys")
app.add_typer(spending.limits_app, name="limits")
app.add_typer(store.store_app, name="store")


def main() -> None:
    """Run the command line; errors of ours are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal can show every character
    with interrupts():
        try:
            app()
        except LeerooError as error:
            if not interrupted():
                print(f"leeroo: {in_options(str(error))}", file=sys.stderr)
            sys.exit(EXIT_ROWS_FAILED if isinstance(error, RowsFailed) else EXIT_USAGE)
