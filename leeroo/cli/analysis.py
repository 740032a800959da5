"""The commands about which experts to keep and which to train next: select-experts, gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.cli.options import AsJson, CostWeight, DataFolders, Map, RouterFolder

Split = Annotated[Literal["train", "test", "all"], typer.Option(help="Which of the queries count.")]
Plot = Annotated[Path | None, typer.Option(help="Draw a picture too: a file that ends in .svg.")]


def select_experts(
    data: DataFolders,
    mapped: Map = None,
    k: Annotated[int | None, typer.Option("-k", help="Number of experts. Default: six.")] = None,
    split: Split = "train",
    cost_weight: CostWeight = 0.0,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Choose a few experts that complement each other, by the recorded outcomes of all of them.

    Shows what each adds: to an oracle, on questions they were not chosen by, and to a choice by subject.
    """
    from leeroo.cli.console import check_drawn, show
    from leeroo.cli.data import check_split, open_data
    from leeroo.engine.orchestrator.analysis.expert_selection import select_experts as select
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.analysis import plot_selection, selection_report

    check_drawn(plot=plot)
    with open_data(data, mapped) as opened:
        check_split(opened, split)
        selection = select(opened.folders, k, split, cost_weight)
    if plot is not None:
        write_file(plot_selection(selection), plot)
        typer.echo(f"picture: {plot}", err=True)
    show(selection_report(selection), as_json=as_json)


def gaps(
    data: DataFolders,
    mapped: Map = None,
    router: RouterFolder = None,
    split: Split = "train",
    good: Annotated[float, typer.Option(help="The accuracy from which on an expert is good.")] = 0.5,
    clusters: Annotated[
        int | None, typer.Option(help="Number of topics. Default: one for each 60 questions, up to 40.")
    ] = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Find topics on which no expert is good, and those on which only the most expensive is.

    For people who decide which expert to train next. With a router, its predictions replace missing outcomes.
    """
    from leeroo.cli.console import check_drawn, show
    from leeroo.cli.data import check_split, open_data
    from leeroo.engine.orchestrator.analysis.gaps import find_gaps
    from leeroo.engine.orchestrator.router import Router
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.analysis import gaps_report, plot_gaps

    check_drawn(plot=plot)
    trained = None if router is None else Router.load(router)
    with open_data(data, mapped) as opened:
        check_split(opened, split)
        found = find_gaps(opened.folders, trained, split, good, clusters, opened.say)
    if plot is not None:
        write_file(plot_gaps(found), plot)
        typer.echo(f"picture: {plot}", err=True)
    show(gaps_report(found), as_json=as_json)
