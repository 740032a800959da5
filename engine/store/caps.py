"""Spending caps: the most that all runs on a store may spend in a day or a month of UTC's calendar.

A cap counts the spending of one expert or of all, and of one owner (a key of a server) or of all. What a request can
cost at most is held, by its claim, before it is sent. So runs of any number of processes never pass a cap together.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from leeroo.engine.errors import UsageError
from leeroo.engine.money import usd
from leeroo.engine.sqlite import read_rows

TABLES = """
CREATE TABLE IF NOT EXISTS caps (
    expert TEXT NOT NULL, owner TEXT NOT NULL, period TEXT NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (expert, owner, period)) WITHOUT ROWID;
"""

_READ = """
SELECT k.expert, k.owner, k.period, k.usd, coalesce(u.usd, 0.0) AS used,
       (SELECT coalesce(sum(at_most_usd), 0.0) FROM claims c
        WHERE (k.expert = '' OR k.expert = c.expert) AND (k.owner = '' OR k.owner = c.owner)) AS held,
       CASE k.period WHEN 'day' THEN :day_ends ELSE :month_ends END AS opens
FROM caps k LEFT JOIN used u ON u.period = CASE k.period WHEN 'day' THEN :day ELSE :month END
    AND u.expert = k.expert AND u.owner = k.owner
WHERE :owner IS NULL OR k.owner IN ('', :owner) ORDER BY 1, 2, 3
"""

Period = Literal["day", "month"]
_ADJECTIVES = {"day": "daily", "month": "monthly"}


@dataclass(frozen=True)
class Cap:
    """A cap, and how much of it is used.

    Attributes:
        expert: Whose spending counts; '' for that of all.
        owner: For whom it was spent; '' for all.
        usd: The most that may be spent.
        used: What was billed, and the most that requests under way at a kill may have cost.
        held: The most that requests under way can cost.
        opens: When the next day or month begins, in seconds of the epoch.

    """

    expert: str
    owner: str
    period: Period
    usd: float
    used: float
    held: float
    opens: float

    @property
    def left(self) -> float:
        """The USD that are not used."""
        return max(self.usd - self.used, 0.0)

    @property
    def room(self) -> float:
        """The USD that are neither used nor held."""
        return max(self.usd - self.used - self.held, 0.0)

    @property
    def opens_at(self) -> str:
        """When it opens again, as people read it."""
        return datetime.fromtimestamp(self.opens, UTC).strftime("%Y-%m-%d %H:%M UTC")

    def __str__(self) -> str:
        whose = [f"the expert {self.expert!r}"] if self.expert else []
        whose += ["this key"] if self.owner else []
        return f"the {_ADJECTIVES[self.period]} cap of {usd(self.usd)} for {' and '.join(whose) or 'all experts'}"

    def why_closed(self, needed: float) -> str:
        """Return why a request that may cost so much does not fit, and when it will."""
        again = f"it opens again at {self.opens_at}"
        if needed <= self.left:
            return f"{self} is held by requests under way ({usd(self.used)} used, {usd(self.held)} held); {again}"
        rest = f" but for {usd(self.left)}, less than the row can cost" if self.left > 0 else ""
        return f"{self} is used up{rest}; {again}"

    def counts(self, expert: str) -> bool:
        """Return whether what an expert costs counts."""
        return self.expert in ("", expert)


def set_caps(db: sqlite3.Connection, most_usd: Mapping[Period, float], expert: str = "", owner: str = "") -> None:
    """Set caps, or change them, all or none: the money spent so far counts.

    Raises:
        UsageError: an amount is not one.

    """
    for period, most in most_usd.items():
        if not (most >= 0 and math.isfinite(most)):
            raise UsageError(f"a cap is an amount in USD of at least 0, not {most}")
        db.execute("INSERT OR REPLACE INTO caps VALUES (?, ?, ?, ?)", (expert, owner, period, most))


def remove_caps(db: sqlite3.Connection, expert: str = "", owner: str = "") -> int:
    """Remove the caps with exactly this expert and owner; return how many there were."""
    return db.execute("DELETE FROM caps WHERE expert = ? AND owner = ?", (expert, owner)).rowcount


def read_caps(db: sqlite3.Connection, owner: str | None, now: float | None = None) -> list[Cap]:
    """Return the caps that count the spending of an owner (None: all caps), as they stand now."""
    if db.execute("SELECT 1 FROM caps LIMIT 1").fetchone() is None:
        return []
    return [Cap(**row) for row in read_rows(db, _READ, {"owner": owner, **_calendar(now)})]


def admit(caps: Sequence[Cap], experts: Sequence[str], at_most: Sequence[float]) -> tuple[list[bool], dict[str, float]]:
    """Return which requests fit all caps, one after the other, and the USD that are then left for each expert.

    Args:
        caps: As they stand.
        experts: Of each request.
        at_most: The most USD that each can cost; a free one always fits.

    """
    rooms, fits = [cap.room for cap in caps], []
    counting = {expert: [i for i, cap in enumerate(caps) if cap.counts(expert)] for expert in set(experts)}
    for expert, most in zip(experts, at_most, strict=True):
        fits.append(all(most <= rooms[i] for i in counting[expert]))
        if fits[-1]:
            for i in counting[expert]:
                rooms[i] -= most
    return fits, {expert: min((rooms[i] for i in own), default=math.inf) for expert, own in counting.items()}


def closed_for(caps: Sequence[Cap], expert: str, needed: float, *, held: bool) -> Cap | None:
    """Return the cap that keeps a request from an expert, the one that opens last; None where all have room.

    Args:
        caps: As they stand.
        expert: Its name.
        needed: The most USD that the request can cost.
        held: Whether what requests under way hold is taken as used.

    """
    closed = [cap for cap in caps if cap.counts(expert) and needed > (cap.room if held else cap.left)]
    return max(closed, key=lambda cap: cap.opens, default=None)


def beyond(caps: Sequence[Cap], expected: Mapping[str, float]) -> list[str]:
    """Return a line for each cap that leaves less than what is expected to be spent, in USD by expert."""
    needed = [math.fsum(cost for expert, cost in expected.items() if cap.counts(expert)) for cap in caps]
    return [
        f"{cap} leaves {usd(cap.left)} until {cap.opens_at}, and these rows are expected to cost {usd(cost)}:"
        " they go to cheaper experts, or fail"
        for cap, cost in zip(caps, needed, strict=True)
        if cost > cap.left
    ]


def _calendar(now: float | None) -> dict[str, object]:
    """Return the day and month of a time, and when they end, in UTC."""
    day = datetime.fromtimestamp(time.time() if now is None else now, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    tomorrow, month = day + timedelta(days=1), day.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    return {
        "day": f"{day:%Y-%m-%d}",
        "month": f"{day:%Y-%m}",
        "day_ends": tomorrow.timestamp(),
        "month_ends": next_month.timestamp(),
    }
