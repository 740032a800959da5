"""The commands that make a router, pack it, and unpack it: train, router export, router import."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.cli.log import current
from leeroo.cli.options import AsJson, Map, OptionalDataFolders, Seed, logged
from leeroo.engine.errors import UsageError
from leeroo.engine.listeners import LineListener

router_app = typer.Typer(no_args_is_help=True, help="Pack a router into one file, and unpack it elsewhere.")


@logged
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
    as_json: AsJson = False,
) -> None:
    """Train a router on recorded outcomes: how well each expert answered which question.

    They are in files or data folders, and users' feedback in an answer store; either will do.
    """
    from leeroo.cli.console import working
    from leeroo.cli.data import open_data
    from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
    from leeroo.engine.orchestrator.router import Router
    from leeroo.engine.orchestrator.router_folder import check_place
    from leeroo.engine.orchestrator.training.learn import extend
    from leeroo.engine.orchestrator.training.learn import train as learn

    if router is not None and (encoder or finetune != "none"):
        raise UsageError("--encoder and --finetune have no place beside --router: what it has learned stays as it is")
    check_place(out)  # learning takes minutes
    with (
        open_data(data or [], mapped) as opened,
        _outcomes(opened.folders, store, opened.say) as folders,
        working("training"),
    ):
        if router is None:
            learned = learn(folders, encoder or [DEFAULT_ENCODER], finetune, seed, opened.say)
        else:
            learned = extend(Router.load(router), folders, seed, opened.say)
    learned.save(out)
    if as_json:
        print(json.dumps({"router": str(out), **learned.summary.model_dump(mode="json")}))
    current().say(f"router for {len(learned.experts)} experts: {out}")


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


@router_app.command("export", epilog="Example:  leeroo router export router/ router.zip")
def export(
    router: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a router.")],
    out: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The file to write.")],
) -> None:
    """Pack a router and its card into one file."""
    from leeroo.engine.orchestrator.router_archive import export_router
    from leeroo.engine.tables.outputs import Keep, check_file

    check_file(out, ".zip", Keep([router]))
    export_router(router, out)
    current().say(f"router packed: {out}")


@router_app.command("import", epilog="Example:  leeroo router import router.zip --out router/")
def unpack(
    source: Annotated[Path, typer.Argument(metavar="FILE.zip", help="A file that leeroo router export wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the router.")],
) -> None:
    """Check a packed router and unpack it; nothing in it is executed."""
    from leeroo.engine.orchestrator.router_archive import import_router

    card = import_router(source, out)
    current().say(f"router for {len(card.experts)} experts: {out}")
