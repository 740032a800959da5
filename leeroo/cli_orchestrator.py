"""The commands that make and judge a router: train, evaluate, select-experts, gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leeroo import cli_universe

Data = Annotated[
    list[Path],
    typer.Option("--data", help="Folder with queries, outcomes and experts as Parquet; give it again for more."),
]


def add_to(app: typer.Typer) -> None:
    """Put the commands on an app, in the order in which people need them."""
    app.command(epilog="Example:  leeroo train --data outcomes/ --out router/")(train)
    cli_universe.add_to(app)


def train(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the new router.")],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            help="What reads the questions: a sentence encoder or a causal language model (hub id or folder, or "
            "MODEL@LAYER-mean), or 'static' for tables of millions; give it again for several. "
            "MiniLM and SmolLM2-135M without.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
) -> None:
    """Train a router on recorded outcomes: how well each expert answered which question."""
    from leeroo.engine.orchestrator.encode import DEFAULT_ENCODERS
    from leeroo.engine.orchestrator.learn import train as learn

    learned = learn(data, encoder or DEFAULT_ENCODERS, seed, lambda line: typer.echo(line, err=True))
    learned.save(out)
    typer.echo(f"router for {len(learned.experts)} experts: {out}", err=True)
