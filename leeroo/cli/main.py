"""The `leeroo` command: an app of all command families, and the program that runs it."""

from __future__ import annotations

import io
import sys
from typing import Any

import typer

from leeroo.cli import (
    experts,
    extract,
    label,
    mmlu,
    run,
    serve,
    sql,
)
from leeroo.cli.commands import in_options
from leeroo.cli.learning import analysis, learn, router, selfplay
from leeroo.cli.log import Log, configure, current
from leeroo.cli.options import EXIT_ROWS_FAILED, EXIT_USAGE
from leeroo.cli.records import check, log, report, spending, store
from leeroo.cli.setup import demo, doctor, guide, init
from leeroo.engine.backends.workers.launch import close_ahead
from leeroo.engine.errors import LeerooError, RowsFailed
from leeroo.interrupts import interrupted, interrupts

ANSWER, LEARN, LOOK, SERVE, SET_UP = "Answer", "Learn", "Look", "Serve", "Set up"

app = typer.Typer(
    name="leeroo",
    epilog="Start here:  leeroo run questions.parquet --out answers.parquet",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.callback()(guide.guide)
# In the order of the help, with an example of each.
for panel, command, example in (
    (ANSWER, run.run, "run tickets.csv --column text --out answers.parquet --max-cost-usd 2.50"),
    (ANSWER, sql.explain, """explain "SELECT leeroo_answer(question) FROM 'questions.parquet'" """),
    (ANSWER, run.route, "route questions.parquet --out routes.parquet --max-cost-usd 1"),
    (ANSWER, run.status, "status --store answers/"),
    (ANSWER, sql.sql, """sql "SELECT leeroo_answer(question) FROM 'questions.parquet'" """),
    (ANSWER, label.label, "label tickets.csv --column text --labels billing,bug,other --out labelled.csv"),
    (ANSWER, extract.extract, "extract tickets.csv --schema ticket.py:Ticket --out fields.parquet"),
    (ANSWER, extract.decide, "decide tickets.csv --question urgent=yes,no --question stars=1,2,3 --out decided.csv"),
    (ANSWER, run.solve, "solve questions.parquet --out solved.parquet --max-cost-usd 2.50"),
    (ANSWER, mmlu.mmlu, "mmlu --limit 1000 --out mmlu.parquet --report mmlu.html"),
    (LEARN, learn.learn, "learn questions.csv --pool pool.toml --budget 3 --out router/"),
    (LEARN, router.train, "train --data outcomes/ --out router/"),
    (LEARN, analysis.evaluate, "evaluate --router router/ --data outcomes/ --report evaluation.html"),
    (LEARN, analysis.select_experts, "select-experts --data outcomes/ -k 6"),
    (LEARN, analysis.gaps, "gaps --data outcomes/ --plot gaps.svg"),
    (LEARN, store.feedback, "feedback answers.parquet --gold right_answer"),
    (LEARN, check.check, "check labelled-check.csv"),
    (LOOK, report.report, "report answers.parquet"),
    (LOOK, experts.experts, "experts --pool pool.toml"),
    (LOOK, experts.routers, "routers --pool pool.toml"),
    (LOOK, log.log, "log --last 5 --questions tickets.csv --column text"),
    (LOOK, spending.spend, "spend --by day,expert"),
    (SERVE, serve.serve, "serve --pool pool.toml --router router/ --port 8080"),
    (SET_UP, demo.demo, "demo"),
    (SET_UP, init.init, "init --provider openai --local embedded --table tickets.csv --budget 2.50"),
    (SET_UP, doctor.doctor, "doctor --pool pool.toml"),
):
    app.command(epilog=f"Example:  leeroo {example}", rich_help_panel=panel)(command)
for panel, name, family in (
    (LEARN, "selfplay", selfplay.selfplay_app),
    (LEARN, "outcomes", analysis.outcomes_app),
    (LEARN, "router", router.router_app),
    (LOOK, "store", store.store_app),
    (SERVE, "keys", serve.keys_app),
    (SERVE, "limits", spending.limits_app),
):
    app.add_typer(family, name=name, rich_help_panel=panel)


# The error of a command line that cannot be read, which typer does not export.
_WrongUsage: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line; errors of ours are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal can show every character
    configure(Log())
    with interrupts():
        try:
            sys.exit(app(prog_name="leeroo", standalone_mode=False))
        except _WrongUsage as error:
            sys.exit(_refuse(error))
        except typer.Abort:  # the end of the input, in the middle of a question
            sys.exit(EXIT_USAGE)
        except LeerooError as error:
            if not interrupted():
                current().fail(in_options(str(error)))
            sys.exit(EXIT_ROWS_FAILED if isinstance(error, RowsFailed) else EXIT_USAGE)
        except ModuleNotFoundError as error:
            from leeroo.cli.setup.checks import extra_of

            if (extra := extra_of(error.name)) is None:
                raise
            current().fail(f"the package {error.name} is not installed: pip install 'leeroo[{extra}]'")
            sys.exit(EXIT_USAGE)
        finally:
            close_ahead()  # of a command that fails before it runs


def _refuse(error: Any) -> int:
    """Print why a command line cannot be read, in one line, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # it is the help itself
        error.show()
    else:
        message = error.format_message().rstrip(".").replace("\n", " ").replace("Value error, ", "")
        command = error.ctx.command_path if error.ctx is not None else "leeroo"
        current().fail(f"{message[0].lower()}{message[1:]}; see {command} --help")
    return int(error.exit_code)
