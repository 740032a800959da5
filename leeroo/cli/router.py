"""The commands that make and judge a router: train, evaluate."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.cli.options import AsJson, DataFolders, Map, OptionalDataFolders, Page, Seed, names
from leeroo.engine.errors import UsageError
from leeroo.engine.listeners import LineListener


def train(
    out: Annotated[Path, typer.Option(help="Folder of the new router.")],
    data: OptionalDataFolders = None,
    mapped: Map = None,
    store: Annotated[
        Path | None, typer.Option(help="Also learn from the feedback kept in this answer store (see leeroo feedback).")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Encoder of the questions: a sentence encoder or a causal language model (hub id, folder, or "
            "MODEL@LAYER-mean), or 'static' for tables of millions. Give it again for several. Default: MiniLM."
        ),
    ] = None,
    finetune: Annotated[
        Literal["none", "lora"],
        typer.Option(help="'lora': the causal language model of --encoder learns too, which takes a GPU or patience."),
    ] = "none",
    router: Annotated[
        Path | None,
        typer.Option(help="Take over this router as it is, and learn only the experts that it does not know."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train a router on recorded outcomes: how well each expert answered which question.

    They are in files or data folders, and users' feedback in an answer store; either will do.
    """
    from leeroo.cli.data import open_data
    from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
    from leeroo.engine.orchestrator.router import Router
    from leeroo.engine.orchestrator.router_folder import check_place
    from leeroo.engine.orchestrator.training.learn import extend
    from leeroo.engine.orchestrator.training.learn import train as learn

    if router is not None and (encoder or finetune != "none"):
        raise UsageError("--encoder and --finetune have no place beside --router: what it has learned stays as it is")
    check_place(out)  # learning takes minutes
    with open_data(data or [], mapped) as opened, _outcomes(opened.folders, store, opened.say) as folders:
        if router is None:
            learned = learn(folders, encoder or [DEFAULT_ENCODER], finetune, seed, opened.say)
        else:
            learned = extend(Router.load(router), folders, seed, opened.say)
    learned.save(out)
    typer.echo(f"router for {len(learned.experts)} experts: {out}", err=True)


@contextlib.contextmanager
def _outcomes(data: list[Path], store: Path | None, say: LineListener) -> Iterator[list[Path]]:
    """Yield the data folders, and one with the feedback in a store."""
    if store is None:
        if not data:
            raise UsageError(
                "there is nothing to learn from: name recorded outcomes (--data), or an answer store (--store)"
            )
        yield data
        return
    from leeroo.engine.jobs.feedback import export_feedback
    from leeroo.engine.store.store import Store

    if not (store / "answers.sqlite").is_file():
        raise UsageError(f"there is no answer store {store}")
    with tempfile.TemporaryDirectory(prefix="leeroo-") as place, contextlib.closing(Store(store)) as opened:
        folder = Path(place) / "feedback"
        outcomes = export_feedback(opened, None, folder)
        if not data and not outcomes:
            raise UsageError(f"the answer store {store} holds no feedback: give some (leeroo feedback), or name --data")
        say(f"{outcomes:,} outcomes from the feedback in {store}")
        yield [*data, folder]


def evaluate(
    router: Annotated[Path, typer.Option(help="Folder of a trained router (see leeroo train).")],
    data: DataFolders,
    mapped: Map = None,
    split: Annotated[
        Literal["test", "train", "all"], typer.Option(help="Which of the recorded questions are measured.")
    ] = "test",
    experts: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Measure only these. Default: all that router and data share.")
    ] = None,
    pair: Annotated[
        str | None, typer.Option(metavar="WEAK,STRONG", help="For APGR and CPT. Default: the cheapest and the best.")
    ] = None,
    as_json: AsJson = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="F.svg", help="Draw cost against accuracy into this file.")
    ] = None,
    report: Page = None,
) -> None:
    """Measure a router on recorded outcomes: the score of its choices under budgets, against simpler ways.

    Costs nothing: no expert is called.
    """
    from leeroo.cli.console import check_drawn, show
    from leeroo.cli.data import check_split, open_data
    from leeroo.engine.orchestrator.analysis.evaluate import evaluate as measure
    from leeroo.engine.orchestrator.router import Router
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.evaluation import evaluation_report
    from leeroo.reports.page import page
    from leeroo.reports.plot import plot_evaluation

    check_drawn(page=report, plot=plot)
    with open_data(data, mapped) as opened:
        check_split(opened, split)
        found = measure(
            Router.load(router),
            opened.folders,
            split,
            None if experts is None else names("--experts", experts, "names of experts"),
            None if pair is None else _pair(pair),
            opened.say,
        )
    if plot is not None:
        write_file(plot_evaluation(found), plot)
        typer.echo(f"picture: {plot}", err=True)
    measured = evaluation_report(found, str(router), data, split)
    if report is not None:
        write_file(page(measured), report)
        typer.echo(f"report: {report}", err=True)
    if as_json:
        for note in found.notes:
            typer.echo(f"note: {note}", err=True)
    show(measured, as_json=as_json)


def _pair(listed: str) -> tuple[str, str]:
    match names("--pair", listed, "names of experts"):
        case [weak, strong] if weak != strong:
            return weak, strong
    raise UsageError(f"--pair takes a weak and a strong expert with a comma between, but was given {listed!r}")
