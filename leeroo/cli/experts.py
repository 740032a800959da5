"""The command that lists the experts of a pool: experts."""

from __future__ import annotations

import json

from leeroo.cli.options import AsJson, PoolFile


def experts(pool: PoolFile = None, as_json: AsJson = False) -> None:
    """List the experts of a pool: prices, whose they are, and whether each can run here."""
    from leeroo.cli.console import print_experts
    from leeroo.engine.backends.select import facts
    from leeroo.engine.pool import DEFAULT_POOL, load_pool

    named = load_pool(pool or DEFAULT_POOL)
    listed = [facts(expert, named) for expert in named.experts]
    if as_json:
        print(json.dumps({"experts": listed}))
    else:
        print_experts(listed)
