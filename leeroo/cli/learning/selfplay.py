"""The commands of the loop that learns: selfplay, and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from leeroo.cli.commands import logged
from leeroo.cli.log import current
from leeroo.cli.options import MONEY, POOL, ROWS, AsJson, EngineOptions, FormatOptions, PoolFile, Seed, StoreFolder
from leeroo.engine.errors import UsageError

selfplay_app = typer.Typer(
    invoke_without_command=True,
    epilog="Example:  leeroo selfplay --pool pool.toml --rounds 3 --out play/",
    rich_markup_mode="rich",
)


@selfplay_app.callback()
@logged
def selfplay(
    *,
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder of the loop; an unfinished loop is resumed.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, help="Number of rounds.", show_default="until interrupted")
    ] = None,
    outcomes: Annotated[
        int, typer.Option(min=20, help="Outcomes to collect in each round.", rich_help_panel=ROWS)
    ] = 150,
    held_out: Annotated[
        int, typer.Option(min=20, help="Questions for measuring, sent to every expert.", rich_help_panel=ROWS)
    ] = 150,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="INPUT",
            help="Table of your own questions; a column 'answer' may hold right answers.",
            rich_help_panel=ROWS,
        ),
    ] = None,
    column: Annotated[
        str, typer.Option(help="Column with the questions of --seeds.", rich_help_panel=ROWS)
    ] = "question",
    reading: FormatOptions,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="DATA", help="Outcomes to start from, as leeroo train takes them; repeat for several."),
    ] = None,
    families: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C|none",
            help="Questions with computed answers: arithmetic, units, dates, words, tables, code.",
            show_default="all; code only with --run-code",
            rich_help_panel=ROWS,
        ),
    ] = None,
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code", help="Run code that experts write, isolated by bubblewrap (Linux).", rich_help_panel=ROWS
        ),
    ] = False,
    written: Annotated[
        float, typer.Option(min=0, max=1, help="Share of questions that an expert writes.", rich_help_panel=ROWS)
    ] = 0.25,
    pool: PoolFile = None,
    writer: Annotated[
        str | None,
        typer.Option(help="Expert that writes questions.", show_default="the most expensive one", rich_help_panel=POOL),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Expert that judges answers which cannot be computed.",
            show_default="the most expensive one",
            rich_help_panel=POOL,
        ),
    ] = None,
    rubric: Annotated[
        Path | None, typer.Option(metavar="F.txt", help="File with the rules of the judge.", rich_help_panel=POOL)
    ] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(help="Budget of the whole loop in USD.", rich_help_panel=MONEY)
    ] = None,
    store: StoreFolder = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Improve a router in rounds: make questions, collect the most informative answers, judge, train.

    If it is killed or interrupted, the same command resumes and pays for nothing twice. The router of each
    round is in OUT/rounds/NNNN/router.
    """
    if context.invoked_subcommand is not None:
        return
    from leeroo.cli.console import open_with_progress
    from leeroo.engine.answer import NO_ROUTER
    from leeroo.engine.jobs.judge import RUBRIC
    from leeroo.engine.jobs.recorded.sources import open_data
    from leeroo.engine.jobs.selfplay.generate import read_seeds
    from leeroo.engine.jobs.selfplay.loop import Play, play
    from leeroo.engine.jobs.selfplay.played import read_played
    from leeroo.engine.jobs.selfplay.state import check_folder
    from leeroo.engine.tables import open_input
    from leeroo.reports.selfplay import selfplay_report

    if out is None:
        raise UsageError("--out is missing: name the folder of the loop")
    check_folder(out)
    own = () if seeds is None else tuple(read_seeds(open_input(seeds, layout=reading.layout()), column))
    with open_data(data or [], say=current().say) as recorded:
        what = Play(
            outcomes=outcomes,
            held_out=held_out,
            families=_families(families, run_code),
            run_code=run_code,
            seeds=own,
            data=tuple(recorded.folders),
            writer=writer,
            written=written,
            judge=judge,
            rubric=RUBRIC if rubric is None else _text(rubric),
            max_cost_usd=max_cost_usd,
            seed=seed,
        )
        with open_with_progress(EngineOptions(pool, Path(NO_ROUTER), store=store or out / "store")) as (
            engine,
            bar,
        ):
            play(engine, out, what, rounds, bar.say)
    if as_json:
        print(json.dumps(selfplay_report(read_played(out), str(out)).data, allow_nan=False))


@selfplay_app.command(epilog="Example:  leeroo selfplay report play/ --page play.html")
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a loop.")],
    page: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Write the report as a page to this file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="F.svg", help="Draw the learning curve to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the rounds of a loop: outcomes, cost, the held-out score of their routers, who answers what."""
    from leeroo.cli.console import check_drawn, show
    from leeroo.engine.jobs.selfplay.played import read_played
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.page import page as as_page
    from leeroo.reports.selfplay import plot_played, selfplay_report

    check_drawn(page=page, plot=plot)
    played = read_played(folder)
    found = selfplay_report(played, str(folder))
    if page is not None:
        write_file(as_page(found), page)
    if plot is not None:
        write_file(plot_played(played), plot)
    show(found, as_json=as_json)
    for written in (page, plot):
        if written is not None:
            current().say(f"written: {written}")


def _families(listed: str | None, run_code: bool) -> tuple[str, ...]:
    from leeroo.engine.jobs.selfplay.families import FAMILIES, SAFE

    if listed is None:
        return tuple(FAMILIES) if run_code else SAFE
    chosen = () if listed == "none" else tuple(name.strip() for name in listed.split(","))
    for name in chosen:
        if name not in FAMILIES:
            raise UsageError(f"--families: there is no family {name!r}; there are {', '.join(FAMILIES)}, or none")
    return chosen


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the rubric in {file}: {error}") from error
