"""The commands of money that outlives a run: limits (with set and remove), and spend."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli.commands import names
from leeroo.cli.log import current
from leeroo.cli.options import AsJson, StoreFolder
from leeroo.cli.records.store import opened
from leeroo.engine.errors import UsageError

if TYPE_CHECKING:
    from leeroo.engine.store.caps import Cap, Period
    from leeroo.engine.store.spending import SpentBy

limits_app = typer.Typer(
    invoke_without_command=True, help="List, set and remove the spending caps of the answer store."
)

CappedExpert = Annotated[
    str | None,
    typer.Option("--expert", metavar="NAME", help="Expert that the cap is for.", show_default="all together"),
]
CappedKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="Key of leeroo serve that the cap is for, by name or id.",
        show_default="all together",
    ),
]


@limits_app.callback(epilog="Example:  leeroo limits")
def limits(context: typer.Context, store: StoreFolder = None, as_json: AsJson = False) -> None:
    """List the spending caps of the answer store: what is used, what is left, and when each opens again.

    Days and months are those of UTC. Used is what was billed, and the most that requests under way when their run was
    killed may have cost. Held is the most that requests under way now can cost.
    """
    if context.invoked_subcommand is not None:
        if store is not None or as_json:
            raise UsageError(f"options of leeroo limits {context.invoked_subcommand} come after its name")
        return
    with opened(store) as there:
        caps, owners = there.caps(), _key_names(there.folder)
    if as_json:
        found = [{**_as_dict(cap, owners), "opens": datetime.fromtimestamp(cap.opens, UTC).isoformat()} for cap in caps]
        print(json.dumps({"limits": found}))
    else:
        named = "expert | key | period | cap USD: usd | used USD: usd | held USD: usd | left USD: usd | opens"
        _print(named, [_as_dict(cap, owners) for cap in caps])


@limits_app.command("set", epilog="Example:  leeroo limits set --per-day 20 --per-month 200")
def set_limits(
    per_day: Annotated[float | None, typer.Option(metavar="USD", help="Cap of a day (UTC).")] = None,
    per_month: Annotated[float | None, typer.Option(metavar="USD", help="Cap of a month (UTC).")] = None,
    expert: CappedExpert = None,
    key: CappedKey = None,
    store: StoreFolder = None,
) -> None:
    """Set caps on what may be spent in a day and in a month, by all programs that use the store.

    What was spent before counts. A request is sent when the most that it can cost is left under every cap that counts
    it. Requests of other experts go on, and so do free ones.
    """
    given: dict[Period, float | None] = {"day": per_day, "month": per_month}
    amounts: dict[Period, float] = {period: usd for period, usd in given.items() if usd is not None}
    if not amounts:
        raise UsageError("say how much: --per-day USD, --per-month USD, or both")
    if expert is not None and not expert.strip():
        raise UsageError("--expert takes the name of an expert; leave it out to cap all together")
    with opened(store, make=True) as there:
        there.set_caps(amounts, expert or "", _key_id(there.folder, key))
        unknown = expert is not None and expert not in {row["expert"] for row in there.spend(("expert",))}
    if unknown:
        current().say(f"note: no expert {expert!r} has spent anything in this store yet")


@limits_app.command("remove", epilog="Example:  leeroo limits remove --expert gpt-4")
def remove_limits(expert: CappedExpert = None, key: CappedKey = None, store: StoreFolder = None) -> None:
    """Remove the daily and the monthly cap of an expert, a key, both together, or of all."""
    with opened(store) as there:
        removed = there.remove_caps(expert or "", _key_id(there.folder, key, revoked=True))
    if not removed:
        raise UsageError("there is no such cap: see leeroo limits")
    current().say(f"removed: {removed} cap{'s' * (removed != 1)}")


def spend(
    by: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="One row for each day, expert or key, or combination (day,expert,key); or for each run.",
        ),
    ] = "day",
    since: Annotated[str | None, typer.Option(metavar="DAY", help="First day, such as 2026-11-30.")] = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Print what was spent, by day (of UTC), expert and key of leeroo serve, or by run; the latest last.

    Requests that were billed and failed are in it. Answers from the store cost nothing and are not.
    """
    if by.strip() == "run":
        _spend_by_run(store, _day(since), as_json=as_json)
        return
    columns, first = _columns(by), _day(since)
    with opened(store) as there:
        rows, owners = there.spend(columns, first), _key_names(there.folder)
    listed = [{_SHOWN.get(name, name): value for name, value in row.items()} for row in rows]
    for row in listed:
        if "key" in row:
            row["key"] = owners.get(row["key"], row["key"]) or None
    if as_json:
        print(json.dumps({"spend": listed}))
        return
    named = " | ".join(_SHOWN.get(name, name) for name in columns)
    _print(f"{named} | answers: count | tokens in: count | tokens out: count | cost USD: usd", listed)


def _spend_by_run(store: Path | None, first: str | None, *, as_json: bool) -> None:
    """Print the runs, each with its command and what it cost."""
    with opened(store) as there:
        runs = [{**run, "day": datetime.fromtimestamp(run["started"], UTC)} for run in there.runs()]
    found = [
        {
            "run": run["run"],
            "started": run["day"].isoformat(timespec="seconds"),
            "done": run["finished"] is not None,
            "rows": run["rows"],
            "cost_usd": run["cost_usd"],
            "list_cost_usd": run["list_cost_usd"],
            "command": run["command"],
        }
        for run in runs
        if first is None or run["day"].date().isoformat() >= first
    ]
    if as_json:
        print(json.dumps({"spend": found}))
        return
    shown = [
        {
            "run": run["run"][:_RUN_SHOWN],
            "started": run["started"][:16].replace("T", " "),
            "done": "yes" if run["done"] else "no",
            "rows": run["rows"],
            "cost": run["cost_usd"],
            "command": run["command"],
        }
        for run in found
    ]
    _print("run | started (UTC) | done | rows: count | cost USD: usd | command", shown)


# Characters of a run's id, which tell runs apart.
_RUN_SHOWN = 8
# What the store calls an owner is a key to people.
_SHOWN: dict[str, str] = {"owner": "key"}


def _columns(by: str) -> list[SpentBy]:
    known: dict[str, SpentBy] = {"day": "day", "expert": "expert", "key": "owner"}
    given = list(dict.fromkeys(names("--by", by)))
    for name in given:
        if name not in known:
            raise UsageError(f"--by takes {', '.join(known)}, with commas between, or run alone, and not {name!r}")
    return [known[name] for name in given]


def _day(since: str | None) -> str | None:
    try:
        return None if since is None else date.fromisoformat(since).isoformat()
    except ValueError as error:
        raise UsageError(f"--since takes a day such as 2026-11-30, and not {since!r}") from error


def _as_dict(cap: Cap, owners: Mapping[str, str]) -> dict[str, Any]:
    return {
        "expert": cap.expert or None,
        "key": owners.get(cap.owner, cap.owner) or None,
        "period": cap.period,
        "usd": cap.usd,
        "used_usd": cap.used,
        "held_usd": cap.held,
        "left_usd": cap.room,
        "opens": cap.opens_at,
    }


def _print(named: str, rows: list[dict[str, Any]]) -> None:
    from leeroo.reports.report import Table, columns
    from leeroo.reports.terminal import print_table

    print_table(Table("", columns(named), [list(row.values()) for row in rows], empty="none"))


def _key_names(folder: Path) -> dict[str, str]:
    """Return the names of a server's keys by their ids; those of revoked keys too."""
    from leeroo.serve import keys

    with _database(folder) as db:
        return {} if db is None else {key.id: key.name for key in keys.list_keys(db)}


def _key_id(folder: Path, name: str | None, *, revoked: bool = False) -> str:
    """Return the id of a server's key by its name or id; '' for none.

    Raises:
        UsageError: there is no such key.

    """
    from leeroo.serve import keys

    if name is None:
        return ""
    with _database(folder) as db:
        known = [] if db is None else keys.list_keys(db)
    found = [key.id for key in known if name in (key.name, key.id) and (revoked or key.revoked is None)]
    if not found:
        raise UsageError(f"no key in use is called {name!r}: see leeroo keys list")
    return found[-1]


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[Any]:
    """Open the database of the server that works in a store, None where there is none."""
    from leeroo.serve.database import Database, folder_of

    there = folder_of(folder)
    if not (there / "serve.sqlite").is_file():
        yield None
        return
    with contextlib.closing(Database(there)) as db:
        yield db
