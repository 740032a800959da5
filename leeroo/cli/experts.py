"""The commands that list what may answer and what may choose: experts, routers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from leeroo.cli.options import POOL, AsJson, PoolFile

_PRICES = ("usd_per_m_input", "usd_per_m_output")


def experts(pool: PoolFile = None, as_json: AsJson = False) -> None:
    """List the experts of a pool: models, prices, places, and whether each can run here."""
    from leeroo.engine.backends.select import facts
    from leeroo.engine.pool import DEFAULT_POOL, load_pool

    named = load_pool(pool or DEFAULT_POOL)
    listed = [facts(expert, named) for expert in (*named.experts, *named.embedders)]
    if as_json:
        print(json.dumps({"experts": listed}))
    else:
        _print_experts(listed)


def routers(
    name: Annotated[str | None, typer.Argument(metavar="ROUTER", help="Print the card of this router.")] = None,
    pool: Annotated[
        Path | None, typer.Option(help="Count the models of this pool that each router knows.", rich_help_panel=POOL)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the shipped routers: their training data, and the models that they know.

    Without --router, a pool uses the one that knows most of its models, at least two, as a prior.
    """
    from leeroo.engine.orchestrator.shipped.catalogue import card_of, listing
    from leeroo.engine.pool import load_pool

    if name is not None:
        print(card_of(name), end="")
        return
    listed = listing(None if pool is None else load_pool(pool).experts)
    if as_json:
        print(json.dumps({"routers": listed}))
    else:
        _print_routers(listed)


def _print_routers(routers: list[dict[str, Any]]) -> None:
    """Print the shipped routers as a table, with what each was learned from below it."""
    from leeroo.reports.report import Table, columns
    from leeroo.reports.terminal import print_table

    names = columns("router | questions: count | experts: count | calibration error: score | known in the pool: count")
    rows = [
        (
            r["router"],
            r["questions"],
            len(r["experts"]),
            r["calibration_error"],
            None if r["known"] is None else len(r["known"]),
        )
        for r in routers
    ]
    remarks = [f"{r['router']}: {r['title']} ({r['licence']})" for r in routers]
    remarks.append("leeroo routers ROUTER prints the card of one: data, figures, limits, attribution.")
    print_table(Table("", names, rows, remarks=remarks))


def _print_experts(experts: list[dict[str, Any]]) -> None:
    """Print the experts, where rows go, and why some of them cannot run here."""
    from leeroo.engine.pool_prices import OF_FILE
    from leeroo.reports.terminal import say

    print_experts(experts)
    for e in experts:
        if e["price_source"] != OF_FILE:
            say(f"{e['expert']}: {e['price_source']}")
        if e["sent_to"]:
            say(f"{e['expert']}: rows go to {e['sent_to']}")
        if e["unavailable"]:
            say(f"{e['expert']}: {e['unavailable']}")


def print_experts(experts: list[dict[str, Any]]) -> None:
    """Print the table of experts."""
    from leeroo.reports.report import Table, columns
    from leeroo.reports.terminal import print_table

    names = columns("expert | model | backend | USD per M in/out | place | runs")
    rows = [
        (
            e["expert"] + ("*" if e["default"] else ""),
            e["model"],
            e["backend"],
            f"{e['usd_per_m_input']:g} / {e['usd_per_m_output']:g}" if any(e[name] for name in _PRICES) else "free",
            e["location"],
            "no" if e["unavailable"] else "yes",
        )
        for e in experts
    ]
    print_table(Table("", names, rows, remarks=["* the pool's default"]))
