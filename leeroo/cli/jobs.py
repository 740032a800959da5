"""The commands that do whole jobs: mmlu, label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.cli.options import (
    EXIT_ROWS_FAILED,
    MONEY,
    ROWS,
    AsJson,
    Budget,
    CostWeight,
    Delimiter,
    Encoding,
    Format,
    Header,
    Input,
    LatencyWeight,
    Limit,
    OnExpertDown,
    Out,
    Overwrite,
    Pinned,
    PoolFile,
    Prefix,
    Private,
    ProgressBar,
    RouterDir,
    StoreDir,
)
from leeroo.engine.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Put the commands on an app."""
    app.command(epilog="Example:  leeroo mmlu --limit 1000 --out mmlu.parquet --report mmlu.html")(mmlu)
    app.command(
        epilog="Example:  leeroo label tickets.csv --column text --labels billing,bug,other --out labelled.csv"
    )(label)


def mmlu(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Folder with test.parquet and dev.parquet of MMLU, or a data folder with recorded outcomes; "
            "from the Hugging Face hub without.",
            rich_help_panel=ROWS,
        ),
    ] = "hf://datasets/cais/mmlu",
    subjects: Annotated[
        str | None, typer.Option("--subjects", metavar="A,B,C", help="Only these.", rich_help_panel=ROWS)
    ] = None,
    shots: Annotated[
        int, typer.Option("--shots", min=0, help="Solved questions before each.", rich_help_panel=ROWS)
    ] = 5,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="So many questions, evenly from all subjects.", rich_help_panel=ROWS),
    ] = None,
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    expert: Pinned = None,
    on_expert_down: OnExpertDown = "next",
    store: StoreDir = None,
    mode: Annotated[
        Literal["choose", "generate"],
        typer.Option("--mode", help="Read the probabilities of the letters, or let the experts write."),
    ] = "choose",
    chat: Annotated[
        bool, typer.Option("--chat/--raw", help="Show a prompt as a turn in a chat, or as text to go on with.")
    ] = False,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare",
            help="Have every expert answer everything, and tell what other choices would have come to. Without, "
            "only where answers are recorded ones.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the answers, with letter and score.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="F.html", help="Write all of it as a page into this file.")
    ] = None,
    as_json: AsJson = False,
    progress: ProgressBar = True,
) -> None:
    """Run MMLU, or a part of it, as one batch, and score it by subject and category.

    Killed or interrupted, the same command goes on where it stopped and pays for nothing twice.
    """
    from leeroo.cli.console import all_well, aside, check_alone, check_drawn, commonest, keeping, opened, print_failures
    from leeroo.cli.console_evaluation import print_tables, say
    from leeroo.engine.answer import Criteria
    from leeroo.engine.jobs.mmlu.data import read_questions
    from leeroo.engine.jobs.mmlu.mmlu import run_mmlu
    from leeroo.engine.tables import check_output, write_table
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.mmlu import headline, mmlu_page, tables

    keep = keeping(store, data)
    if out is not None:
        check_output(out, keep)
        check_alone(out, as_json=as_json)
    check_drawn(keep.store, page=report)
    criteria = Criteria(
        expert=expert,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        on_expert_down=on_expert_down,
    )
    questions = read_questions(data, _names(subjects), shots, limit)
    with opened(pool, router, store, progress) as (engine, bar):
        results = run_mmlu(engine, questions, criteria, mode, chat=chat, compare=compare, on_progress=bar.say)
        if out is not None:
            write_table(results.answers.to_reader(), out)
        if report is not None:
            write_file(mmlu_page(results, "MMLU", _about(data, shots, mode, chat, pool, router)), report)
        engine.delivered()
        bar.close()
    errors = results.answers.column("error").to_pylist()
    if as_json:
        print(json.dumps({**results.as_json(), "errors": commonest(errors)}, allow_nan=False))
    else:
        with aside(out):
            say(headline(results))
            print_tables(tables(results))
        print_failures(errors)
    for written in (out, report):
        if written is not None:
            typer.echo(f"written: {written}", err=True)
    if not all_well(bar, results.failed):
        raise typer.Exit(EXIT_ROWS_FAILED)


def label(
    source: Input,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="A,B,C|F.toml",
            help="Names with commas between, or a file with labels, descriptions and examples.",
        ),
    ],
    out: Out,
    column: Annotated[str, typer.Option("--column", help="The column with the text.", rich_help_panel=ROWS)] = "text",
    several: Annotated[
        bool, typer.Option("--several", help="Any number of labels may apply to a row; a list comes out.")
    ] = False,
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    private_column: Private = None,
    expert: Pinned = None,
    on_expert_down: OnExpertDown = "next",
    enough: Annotated[
        float | None,
        typer.Option(
            "--enough",
            min=0.0,
            max=1.0,
            help="A label less sure than this goes on to the next dearer expert; 0 asks one expert only.",
            rich_help_panel=MONEY,
        ),
    ] = 0.8,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate/--no-calibrate", help="Correct a model that leans to a label whatever it reads."),
    ] = True,
    chat: Annotated[
        bool, typer.Option("--chat/--raw", help="Show the prompt as a turn in a chat, or as text to go on with.")
    ] = True,
    gold: Annotated[
        str | None, typer.Option("--gold", metavar="COLUMN", help="Compare with the labels in this column.")
    ] = None,
    check: Annotated[
        int, typer.Option("--check", metavar="N", min=0, help="Write N rows for people to check beside the output.")
    ] = 0,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="F.html", help="Write all of it as a page into this file.")
    ] = None,
    as_json: AsJson = False,
    store: StoreDir = None,
    limit: Limit = None,
    prefix: Prefix = "",
    format: Format = None,
    delimiter: Delimiter = None,
    header: Header = True,
    encoding: Encoding = None,
    overwrite: Overwrite = False,
    progress: ProgressBar = True,
) -> None:
    """Give every row of a table one of some labels, with how sure that is.

    The cheapest expert labels everything; what it is not sure of goes on to dearer ones, as far as the budget goes.
    """
    from leeroo.cli.console import all_well, aside, check_alone, check_drawn, commonest, keeping, opened, print_failures
    from leeroo.cli.console_evaluation import print_tables
    from leeroo.engine.answer import Criteria
    from leeroo.engine.jobs.label import label_rows, read_labels, to_check
    from leeroo.engine.tables import Layout, check_output, open_input, write_table
    from leeroo.engine.tables.outputs import is_stream, write_file
    from leeroo.reports.agreement import against, agree, askers, label_page, shares

    wanted = read_labels(labels, several=several)
    keep = keeping(store, source, overwrite=overwrite)
    check_output(out, keep)
    check_alone(out, as_json=as_json)
    check_drawn(keep.store, page=report)
    checked = out.with_name(f"{out.stem}-check.csv")
    if check:
        if is_stream(out):
            raise UsageError("--check writes a file beside the output: name a file with --out")
        check_output(checked, keep)
    if several and gold is not None:
        raise UsageError("--gold is for one label a row: leave out --several")
    criteria = Criteria(
        column=column,
        private_column=private_column,
        expert=expert,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        prefix=prefix,
        on_expert_down=on_expert_down,
    )
    rows = open_input(source, limit, Layout(format, delimiter, header, encoding))
    if gold is not None and gold not in rows.schema.names:
        raise UsageError(f"the input has no column {gold!r}; its columns are: {', '.join(rows.schema.names)}")
    with opened(pool, router, store, progress) as (engine, bar):
        labelled = label_rows(engine, rows, wanted, criteria, calibrate=calibrate, enough=enough or None, chat=chat)
        found = None if gold is None else agree(labelled, gold, wanted.names, prefix)
        write_table(labelled.to_reader(), out)
        if check:
            write_table(to_check(labelled, check, prefix).to_reader(), checked)
        if report is not None:
            about = [f"{len(labelled):,} rows of {source}, labelled with {', '.join(wanted.names)}."]
            write_file(label_page(labelled, found, f"Labels of {source}", about, prefix), report)
        engine.delivered()
        bar.close()
    errors = labelled.column(prefix + "error").to_pylist()
    failed = len(errors) - errors.count(None)
    if as_json:
        cost = {name: sum(labelled.column(prefix + name).to_pylist()) for name in ("cost_usd", "list_cost_usd")}
        summary = {"rows": len(labelled), "failed": failed, "errors": commonest(errors), **cost}
        print(json.dumps({**summary, "agreement": found.as_json() if found else None}, allow_nan=False))
    else:
        with aside(out):
            print_tables([shares(labelled, prefix), askers(labelled, prefix), *(against(found) if found else [])])
        print_failures(errors)
        if gold is not None and found is None:
            typer.echo(f"the column {gold!r} holds no gold label: nothing was compared", err=True)
    for written in (out, checked if check else None, report):
        if written is not None:
            typer.echo(f"written: {written}", err=True)
    if not all_well(bar, failed):
        raise typer.Exit(EXIT_ROWS_FAILED)


def _about(data: str, shots: int, mode: str, chat: bool, pool: Path | None, router: Path | None) -> list[str]:
    """What was run, in sentences."""
    recorded = Path(data, "queries.parquet").is_file()
    return [
        f"The questions are the test split of {data}."
        if recorded
        else f"The questions are those of {data}, with {shots} solved ones before each.",
        f"They were shown as {'a turn in a chat' if chat else 'text to go on with'}, and answers were read from "
        f"{'the probabilities of the letters' if mode == 'choose' else 'what the experts wrote'}; recorded answers are "
        "as they were recorded.",
        f"They were answered by {f'the pool {pool}' if pool else 'the embedded local pool'}"
        + (f", chosen by the router {router}." if router else "."),
    ]


def _names(listed: str | None) -> list[str]:
    names = [] if listed is None else [name.strip() for name in listed.split(",")]
    if not all(names):
        raise UsageError(f"--subjects takes names with commas between, but was given {listed!r}")
    return names
