"""The command that prints what can run on this machine: doctor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from leeroo.cli.options import AsJson, PoolFile, StoreFolder

if TYPE_CHECKING:
    from leeroo.cli.setup.checks import Check

_NOTHING_ANSWERS = 1
_MARKS = {"ok": "ok", "no": "NO", "info": "-"}


def doctor(
    pool: PoolFile = None,
    store: StoreFolder = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to reach the hub and providers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what can run on this machine, and the command that mends what cannot.

    Looks at GPU, memory, disk, packages, API keys (names only), weights, and whether hosts can be reached. Exit code 1
    says that nothing can answer.
    """
    from leeroo.cli.setup import checks
    from leeroo.cli.setup.providers import providers
    from leeroo.engine.pool import DEFAULT_POOL, load_pool

    experts = load_pool(pool or DEFAULT_POOL).experts
    # Without a pool file people may mean to write one for the providers whose keys they have.
    wanted = {each.url: each.name for each in providers().values() if pool is None and each.has_key}
    hub = None if offline else checks.check_hub()
    servers = {} if offline else checks.check_servers(wanted | checks.servers_of(experts))
    machine = checks.check_machine()
    api, *others = checks.check_extras(gpu=machine[-1].state == "ok")
    found = [
        *machine,
        api,
        *others,
        checks.check_embedded(load_pool(DEFAULT_POOL).experts[0].model, hub=hub is not None and hub.state == "ok"),
        checks.check_keys(experts),
        checks.check_store(store),
        *([] if hub is None else [hub]),
        *servers.values(),
    ]
    reasons = {expert.name: checks.why_not(expert, hub, servers) for expert in experts}
    if api.state == "ok":
        down = {url for url, server in servers.items() if server.state == "no"}
        reasons |= {f"{name}'s models": None for url, name in wanted.items() if url not in down}
    able = [name for name, reason in reasons.items() if reason is None]
    cannot = {name: reason for name, reason in reasons.items() if reason is not None}
    if as_json:
        print(json.dumps({"checks": [each._asdict() for each in found], "can_answer": able, "cannot_answer": cannot}))
    else:
        _print(found, able, cannot)
    if not able:
        raise typer.Exit(_NOTHING_ANSWERS)


def _print(found: list[Check], able: list[str], cannot: dict[str, str]) -> None:
    """Print what was found, how to mend what is missing, and who can answer."""
    from leeroo.reports.report import Table, columns
    from leeroo.reports.terminal import print_table, say

    rows = [(_MARKS[check.state], check.name, check.found) for check in found]
    print_table(Table("", columns(" | what | found"), rows))
    mends = {check.mend: check.name for check in found if check.mend is not None and check.state != "ok"}
    if mends:
        say("\nTo mend:")
    for mend, name in mends.items():
        say(f"  {name}: {mend}")
    say("")
    for reason in dict.fromkeys(cannot.values()):
        say(f"cannot answer: {', '.join(name for name, why in cannot.items() if why == reason)} ({reason})")
    say(f"can answer: {', '.join(able)}" if able else "nothing can answer here")
