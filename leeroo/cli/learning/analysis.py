"""The commands that look at recorded outcomes: evaluate, select-experts, gaps, and outcomes check."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.cli.commands import logged, names
from leeroo.cli.log import current
from leeroo.cli.options import AsJson, CostWeight, DataFolders, Map, Page, RouterFolder
from leeroo.engine.errors import UsageError

Split = Annotated[Literal["train", "test", "all"], typer.Option(help="Queries that count.")]
Plot = Annotated[Path | None, typer.Option(metavar="F.svg", help="Draw a picture to this file.")]

outcomes_app = typer.Typer(no_args_is_help=True, help="Check recorded outcomes before training.")


@logged
def evaluate(
    router: Annotated[Path, typer.Option(help="Folder of a trained router (see leeroo train).")],
    data: DataFolders,
    mapped: Map = None,
    split: Annotated[Literal["test", "train", "all"], typer.Option(help="Queries to measure on.")] = "test",
    experts: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Experts to measure.", show_default="all that router and data share"),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(metavar="WEAK,STRONG", help="Experts for APGR and CPT.", show_default="the cheapest and the best"),
    ] = None,
    as_json: AsJson = False,
    plot: Annotated[Path | None, typer.Option(metavar="F.svg", help="Draw cost against accuracy to this file.")] = None,
    report: Page = None,
) -> None:
    """Measure a router on recorded outcomes: its scores under budgets, compared with simpler methods.

    Costs nothing: no expert is called.
    """
    from leeroo.cli.console import check_drawn, show, working
    from leeroo.engine.jobs.recorded.routers import measure_router
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.evaluation import evaluation_report
    from leeroo.reports.page import page
    from leeroo.reports.plot import plot_evaluation

    check_drawn(page=report, plot=plot)
    with working("measuring"):
        found = measure_router(
            router,
            data,
            split=split,
            mapped=mapped or [],
            experts=None if experts is None else names("--experts", experts, "names of experts"),
            pair=None if pair is None else _pair(pair),
            say=current().say,
        )
    if plot is not None:
        write_file(plot_evaluation(found), plot)
        current().say(f"picture: {plot}")
    measured = evaluation_report(found, str(router), data, split)
    if report is not None:
        write_file(page(measured), report)
        current().say(f"report: {report}")
    if as_json:
        for note in found.notes:
            current().say(f"note: {note}")
    show(measured, as_json=as_json)


def _pair(listed: str) -> tuple[str, str]:
    match names("--pair", listed, "names of experts"):
        case [weak, strong] if weak != strong:
            return weak, strong
    raise UsageError(f"--pair takes a weak and a strong expert with a comma between, but was given {listed!r}")


@logged
def select_experts(
    data: DataFolders,
    mapped: Map = None,
    k: Annotated[int | None, typer.Option("-k", help="Number of experts.", show_default="6")] = None,
    split: Split = "train",
    cost_weight: CostWeight = 0.0,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Choose a few experts that complement each other, by the recorded outcomes of all of them.

    Shows what each adds to an oracle, on held-out questions, and to a choice by subject.
    """
    from leeroo.cli.console import check_drawn, show, working
    from leeroo.engine.jobs.recorded.sources import check_split, open_data
    from leeroo.engine.orchestrator.analysis.expert_selection import select_experts as select
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.analysis import plot_selection, selection_report

    check_drawn(plot=plot)
    with open_data(data, mapped or [], current().say) as opened, working("measuring"):
        check_split(opened, split)
        selection = select(opened.folders, k, split, cost_weight)
    if plot is not None:
        write_file(plot_selection(selection), plot)
        current().say(f"picture: {plot}")
    show(selection_report(selection), as_json=as_json)


@logged
def gaps(
    data: DataFolders,
    mapped: Map = None,
    router: RouterFolder = None,
    split: Split = "train",
    good: Annotated[float, typer.Option(help="Accuracy from which an expert is good.")] = 0.5,
    clusters: Annotated[
        int | None, typer.Option(help="Number of topics.", show_default="one for each 60 questions, at most 40")
    ] = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Find topics on which no expert is good, and those on which only the most expensive is.

    For people who decide which expert to train next. With a router, its predictions replace missing outcomes.
    """
    from leeroo.cli.console import check_drawn, show, working
    from leeroo.engine.jobs.recorded.sources import check_split, open_data
    from leeroo.engine.orchestrator.analysis.gaps import find_gaps
    from leeroo.engine.orchestrator.router import Router
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.analysis import gaps_report, plot_gaps

    check_drawn(plot=plot)
    trained = None if router is None else Router.load(router)
    with open_data(data, mapped or [], current().say) as opened, working("measuring"):
        check_split(opened, split)
        found = find_gaps(opened.folders, trained, split, good, clusters, opened.say)
    if plot is not None:
        write_file(plot_gaps(found), plot)
        current().say(f"picture: {plot}")
    show(gaps_report(found), as_json=as_json)


@outcomes_app.command("check", epilog="Example:  leeroo outcomes check results.csv --map correct=score")
def check(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV, Parquet or JSON lines, a pattern in quotes, or a folder of results.",
        ),
    ],
    mapped: Map = None,
    as_json: AsJson = False,
) -> None:
    """Print what is read from a file of outcomes, what is missing, and what follows.

    Reads a row for each question and model, a column for each model, what leeroo run wrote with scores, RouterBench's
    form, lm-eval's sample logs, ZeroEval's and HELM's results, and pairwise preferences.
    """
    from leeroo.cli.console import show
    from leeroo.engine.jobs.recorded.sources import read_file
    from leeroo.engine.orchestrator.outcomes.columns import read_map
    from leeroo.engine.orchestrator.outcomes.files import check_map, is_data_folder
    from leeroo.reports.outcomes import outcomes_report

    columns = read_map(mapped or ())
    if Path(source).is_dir() and is_data_folder(source):
        raise UsageError(f"{source} is a data folder or empty: name a file of outcomes, or a folder of results")
    with tempfile.TemporaryDirectory(prefix="leeroo-") as place:
        found = read_file(source, Path(place) / "data", columns)
        check_map(columns, [found])
        show(outcomes_report(found), as_json=as_json)
