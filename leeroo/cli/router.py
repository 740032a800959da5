"""The commands that make and judge a router: train, evaluate, select-experts, gaps."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.cli import analysis
from leeroo.cli.options import AsJson
from leeroo.engine.errors import UsageError

Data = Annotated[
    list[Path],
    typer.Option("--data", help="Folder with queries, outcomes and experts as Parquet; give it again for more."),
]


def add_to(app: typer.Typer) -> None:
    """Put the commands on an app, in the order in which people need them."""
    app.command(epilog="Example:  leeroo train --data outcomes/ --out router/")(train)
    app.command(epilog="Example:  leeroo evaluate --router router/ --data outcomes/ --report evaluation.html")(evaluate)
    analysis.add_to(app)


def train(
    out: Annotated[Path, typer.Option("--out", help="Folder of the new router.")],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Folder with queries, outcomes and experts as Parquet; give it again for more."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Also learn from the feedback kept in this answer store (see leeroo feedback)."),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            help="What reads the questions: a sentence encoder or a causal language model (hub id or folder, or "
            "MODEL@LAYER-mean), or 'static' for tables of millions; give it again for several. "
            "MiniLM without.",
        ),
    ] = None,
    finetune: Annotated[
        Literal["none", "lora"],
        typer.Option(
            "--finetune",
            help="'lora': the causal language model of --encoder learns too, which takes a GPU or patience.",
        ),
    ] = "none",
    router: Annotated[
        Path | None,
        typer.Option(
            "--router", help="Take over this router as it is, and learn only the experts that it does not know."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
) -> None:
    """Train a router on recorded outcomes: how well each expert answered which question.

    They are in data folders, and users' feedback in an answer store; either will do.
    """
    from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
    from leeroo.engine.orchestrator.router import Router
    from leeroo.engine.orchestrator.router_folder import check_place
    from leeroo.engine.orchestrator.training.learn import extend
    from leeroo.engine.orchestrator.training.learn import train as learn

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if router is not None and (encoder or finetune != "none"):
        raise UsageError("--encoder and --finetune have no place beside --router: what it has learned stays as it is")
    check_place(out)  # learning takes minutes
    with _outcomes(data or [], store, say) as folders:
        if router is None:
            learned = learn(folders, encoder or [DEFAULT_ENCODER], finetune, seed, say)
        else:
            learned = extend(Router.load(router), folders, seed, say)
    learned.save(out)
    typer.echo(f"router for {len(learned.experts)} experts: {out}", err=True)


@contextlib.contextmanager
def _outcomes(data: list[Path], store: Path | None, say: Callable[[str], None]) -> Iterator[list[Path]]:
    """The data folders, and one made of the feedback in a store."""
    if store is None:
        if not data:
            raise UsageError(
                "there is nothing to learn from: name a data folder (--data), or an answer store (--store)"
            )
        yield data
        return
    from leeroo.engine.jobs.feedback import export_feedback

    if not (store / "answers.sqlite").is_file():
        raise UsageError(f"there is no answer store {store}")
    with tempfile.TemporaryDirectory(prefix="leeroo-") as place:
        folder = Path(place) / "feedback"
        outcomes = export_feedback(store, None, folder)
        if not data and not outcomes:
            raise UsageError(f"the answer store {store} holds no feedback: give some (leeroo feedback), or name --data")
        say(f"{outcomes:,} outcomes from the feedback in {store}")
        yield [*data, folder]


def evaluate(
    router: Annotated[Path, typer.Option("--router", help="Folder of a trained router (see leeroo train).")],
    data: Data,
    split: Annotated[
        Literal["test", "train", "all"], typer.Option("--split", help="Which of the recorded questions are measured.")
    ] = "test",
    experts: Annotated[
        str | None,
        typer.Option("--experts", metavar="A,B,C", help="Measure only these; all that router and data share without."),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option("--pair", metavar="WEAK,STRONG", help="For APGR and CPT; the cheapest and the best without."),
    ] = None,
    as_json: AsJson = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="F.svg", help="Draw cost against accuracy into this file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="F.html", help="Write all of it as a page into this file.")
    ] = None,
) -> None:
    """Measure a router on recorded outcomes: what its choices come to under budgets, beside simpler ways.

    Costs nothing: no expert is asked.
    """
    from leeroo.cli.console import check_drawn
    from leeroo.engine.orchestrator.analysis.evaluate import evaluate as measure
    from leeroo.engine.orchestrator.router import Router
    from leeroo.engine.tables.outputs import write_file

    check_drawn(page=report, plot=plot)
    found = measure(
        Router.load(router),
        data,
        split,
        None if experts is None else _names("--experts", experts),
        None if pair is None else _pair(pair),
        lambda line: typer.echo(line, err=True),
    )
    if plot is not None:
        from leeroo.reports.plot import plot_evaluation

        write_file(plot_evaluation(found), plot)
        typer.echo(f"picture: {plot}", err=True)
    if report is not None:
        from leeroo.reports.page import report as page

        write_file(page(found, str(router), [str(folder) for folder in data], split), report)
        typer.echo(f"report: {report}", err=True)
    if as_json:
        for note in found.notes:
            typer.echo(f"note: {note}", err=True)
        print(json.dumps(found.as_json(), allow_nan=False))
    else:
        from leeroo.cli.console_evaluation import print_evaluation

        print_evaluation(found)


def _names(option: str, listed: str) -> list[str]:
    names = [name.strip() for name in listed.split(",")]
    if not all(names):
        raise UsageError(f"{option} takes names of experts with commas between, but was given {listed!r}")
    return names


def _pair(listed: str) -> tuple[str, str]:
    match _names("--pair", listed):
        case [weak, strong] if weak != strong:
            return weak, strong
    raise UsageError(f"--pair takes a weak and a strong expert with a comma between, but was given {listed!r}")
