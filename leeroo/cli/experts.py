"""The command that lists the experts of a pool: experts."""

from __future__ import annotations

import json
from typing import Any

from leeroo.cli.options import AsJson, PoolFile


def experts(pool: PoolFile = None, as_json: AsJson = False) -> None:
    """List the experts of a pool: prices, whose they are, and whether each can run here."""
    from leeroo.engine.backends.select import facts
    from leeroo.engine.pool import DEFAULT_POOL, load_pool

    named = load_pool(pool or DEFAULT_POOL)
    listed = [facts(expert, named) for expert in named.experts]
    if as_json:
        print(json.dumps({"experts": listed}))
    else:
        _print(listed)


def _print(experts: list[dict[str, Any]]) -> None:
    """Print the experts as a table, and below it why some of them cannot run here."""
    from leeroo.reports.report import Table, columns
    from leeroo.reports.terminal import print_table

    names = columns("expert | model | backend | USD per M in / out | price from | place | runs")
    rows = [
        (
            e["expert"] + (" *" if e["default"] else ""),
            e["model"],
            e["backend"],
            f"{e['usd_per_m_input']:g} / {e['usd_per_m_output']:g}",
            e["price_source"],
            e["location"],
            "no" if e["unavailable"] else "yes",
        )
        for e in experts
    ]
    remarks = ["* the pool's default"]
    for e in experts:
        if e["sent_to"]:
            remarks.append(f"{e['expert']}: rows go to {e['sent_to']}")
        if e["unavailable"]:
            remarks.append(f"{e['expert']}: {e['unavailable']}")
    print_table(Table("", names, rows, remarks=remarks))
