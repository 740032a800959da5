"""The commands that make a router, pack it, and unpack it: train, router export, router import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.cli.commands import logged
from leeroo.cli.log import current
from leeroo.cli.options import AsJson, Map, OptionalDataFolders, Seed

router_app = typer.Typer(no_args_is_help=True, help="Pack a router into one file, and unpack it elsewhere.")


@logged
def train(
    out: Annotated[Path, typer.Option(help="Folder of the new router.")],
    data: OptionalDataFolders = None,
    mapped: Map = None,
    store: Annotated[
        Path | None, typer.Option(help="Also learn from the feedback in this answer store (see leeroo feedback).")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Encoder of the questions: a sentence encoder, a causal language model (MODEL@LAYER-mean), or "
            "'static' for millions of rows. Repeat for several.",
            show_default="MiniLM",
        ),
    ] = None,
    finetune: Annotated[
        Literal["none", "lora"],
        typer.Option(help="'lora' also trains the causal language model of --encoder, which takes a GPU or hours."),
    ] = "none",
    router: Annotated[
        Path | None,
        typer.Option(help="Router to extend: only experts that it does not know are learned."),
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train a router on recorded outcomes: how well each expert answered which question.

    Outcomes come from files, data folders, or feedback in an answer store.
    """
    from leeroo.cli.console import working
    from leeroo.engine.jobs.recorded.routers import train_router

    with working("training"):
        learned = train_router(
            data or [],
            out=out,
            store=store,
            router=router,
            mapped=mapped or [],
            encoders=encoder or [],
            finetune=finetune,
            seed=seed,
            say=current().say,
        )
    if as_json:
        print(json.dumps({"router": str(out), **learned.summary.model_dump(mode="json")}))
    current().say(f"router for {len(learned.experts)} experts: {out}")


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
