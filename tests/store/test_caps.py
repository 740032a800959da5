"""Spending caps: what a day or a month leaves, for whom, and that nothing passes them."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leeroo.engine.errors import UsageError
from leeroo.engine.store.runs import Run, release
from leeroo.engine.store.spending import Charge
from leeroo.engine.store.store import Store
from tests.store.conftest import Beside, claimed, key, keys, rows

# The last minute of a day that is the last of its month.
NIGHT = datetime(2031, 11, 30, 23, 59, tzinfo=UTC).timestamp()
MORNING = NIGHT + 120


def _claim(store: Store, run: Run, at: float, *at_most: float, expert: str = "large", named: str = "") -> list[bool]:
    """Claim keys of their own at a time, and return which are granted."""
    wanted = keys(*(f"{named}{at}{expert}{i}" for i in range(len(at_most))))
    granted: list[bool] = store.claim(run, wanted, at_most, [expert] * len(at_most), at).granted.to_pylist()
    return granted


def test_requests_fit_a_cap_together(tmp_path: Path) -> None:
    """Each that fits beside what is held goes, in their order; a free one always goes."""
    store = Store(tmp_path)
    run = store.begin("job", 1)
    store.set_caps({"day": 1.0})
    assert _claim(store, run, NIGHT, 0.5, 0.6, 0.5, 0.1, 0.0) == [True, False, True, False, True]
    assert _claim(store, run, NIGHT, 0.01, 0.0, named="later") == [False, True]


def test_a_claim_says_what_is_left(tmp_path: Path) -> None:
    """Rows that a cap holds back are distinguished from those of other runs, with what is left for their expert."""
    store = Store(tmp_path)
    one, two = store.begin("one", 1), store.begin("two", 1)
    store.set_caps({"day": 1.0}, expert="large")
    claimed(store, one, keys("a"), [0.25], "large")
    found = store.claim(two, keys("a", "b", "c"), [0.25, 0.8, 0.8], ["large", "large", "small"])
    assert (found.granted.to_pylist(), found.capped.to_pylist()) == ([False, False, True], [False, True, False])
    assert found.room == {"large": 0.75, "small": float("inf")}


def test_the_real_cost_replaces_what_was_held(tmp_path: Path) -> None:
    """When the answer or the charge is kept, or the claim is released."""
    store = Store(tmp_path)
    run = store.begin("job", 1)
    store.set_caps({"day": 1.0})
    claimed(store, run, keys("a", "b", "c"), [0.5, 0.25, 0.25], "large")
    assert [(cap.used, cap.held) for cap in store.caps("")] == [(0.0, 1.0)]
    store.append(rows("a", run=run.run, expert="large", list_cost_usd=0.125))
    store.charge([Charge(run.run, "q", "large", 1, 1, 0.0625, key("b"))])
    store.release_claims(run, [key("c")])
    assert [(cap.used, cap.held, cap.room) for cap in store.caps("")] == [(0.1875, 0.0, 0.8125)]


def test_a_day_and_a_month_begin_anew(tmp_path: Path) -> None:
    """At midnight of UTC; what is spent before stays in the month, if that is the same."""
    store = Store(tmp_path)
    run = store.begin("job", 1)
    store.set_caps({"day": 1.0})
    store.append(rows("a", run=run.run, list_cost_usd=1.0), NIGHT)
    assert _claim(store, run, NIGHT, 0.5) == [False]
    assert _claim(store, run, MORNING, 1.0) == [True]
    store.set_caps({"month": 1.25})
    store.append(rows("b", run=run.run, list_cost_usd=0.5), MORNING)
    assert _claim(store, run, MORNING + 86_400, 0.75, 0.1) == [False, False]  # 1.0 is held since the first day


def test_a_cap_says_when_it_opens_again(tmp_path: Path) -> None:
    """The next day or month of UTC, also at the end of a year."""
    store = Store(tmp_path)
    store.set_caps({"day": 1.0})
    store.set_caps({"month": 9.0}, expert="large")
    opens = {cap.period: cap.opens_at for cap in store._caps(None, NIGHT)}
    assert opens == {"day": "2031-12-01 00:00 UTC", "month": "2031-12-01 00:00 UTC"}
    december = datetime(2031, 12, 31, 12, tzinfo=UTC).timestamp()
    assert {cap.opens_at for cap in store._caps(None, december)} == {"2032-01-01 00:00 UTC"}


def test_a_cap_counts_its_expert_and_owner_alone(tmp_path: Path) -> None:
    """Others go on; a cap for an expert and an owner counts what is of both."""
    store = Store(tmp_path)
    mine, theirs = store.begin("job", 1, owner="key_a"), store.begin("job", 1, owner="key_b")
    assert mine.run != theirs.run
    store.set_caps({"day": 1.0}, expert="large")
    store.set_caps({"day": 0.5}, owner="key_a")
    store.set_caps({"day": 0.25}, expert="small", owner="key_a")
    assert _claim(store, mine, NIGHT, 0.3, expert="small") == [False]
    assert _claim(store, mine, NIGHT, 0.2, expert="small") == [True]
    assert _claim(store, mine, NIGHT, 0.5) == [False]
    assert _claim(store, theirs, NIGHT, 0.75, 0.5, named="b") == [True, False]
    assert _claim(store, theirs, NIGHT, 9.0, expert="small", named="b") == [True]
    assert len(store.caps("key_b")) == 1
    assert len(store.caps()) == 3


def test_caps_are_changed_and_removed(tmp_path: Path) -> None:
    """A cap that is set again is replaced; what was spent before counts."""
    store = Store(tmp_path)
    store.append(rows("a", expert="large"))
    store.set_caps({"day": 0.25})
    store.set_caps({"day": 2.0})
    store.set_caps({"month": 3.0})
    assert [(cap.period, cap.usd, cap.left) for cap in store.caps()] == [("day", 2.0, 1.5), ("month", 3.0, 2.5)]
    assert store.remove_caps("large") == 0
    assert store.remove_caps() == 2
    assert store.caps() == []


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_an_amount_that_is_none_is_refused(tmp_path: Path, amount: float) -> None:
    """Nothing is set then."""
    store = Store(tmp_path)
    with pytest.raises(UsageError, match=f"a cap is an amount in USD of at least 0, not {amount}"):
        store.set_caps({"day": amount})
    assert store.caps() == []


def test_a_killed_process_holds_nothing_and_may_have_been_billed(tmp_path: Path, beside: Beside) -> None:
    """Its requests under way count with the most that they can cost, on the day when they were sent."""
    other = beside(
        tmp_path,
        "run = store.begin('other', 1, owner='key_a'); claimed(store, run, keys('a', 'b'), [0.25, 0.5], 'large');"
        "store.append(rows('b', run=run.run, expert='large', list_cost_usd=0.125))",
    )
    store = Store(tmp_path)
    store.set_caps({"day": 1.0})
    assert [(cap.used, cap.held) for cap in store.caps()] == [(0.125, 0.25)]
    other.kill()
    other.wait()
    assert [(cap.used, cap.held) for cap in store.caps()] == [(0.375, 0.0)]
    run = store.begin("job", 1)
    assert claimed(store, run, keys("a"), [0.75], "large") == [False]
    assert claimed(store, run, keys("a"), [0.625], "large") == [True]
    assert [(each["expert"], each["cost_usd"]) for each in store.spend()] == [("large", 0.125)]
    # Yesterday's do not count today.
    with sqlite3.connect(tmp_path / "answers.sqlite") as db:
        db.execute("UPDATE claims SET created = created - 86400")
    release(run)
    assert [(cap.used, cap.held) for cap in store.caps()] == [(0.375, 0.0)]


def test_sums_of_spending_are_those_of_the_rows(tmp_path: Path) -> None:
    """By day, expert and owner, answers that were there already left out."""
    store = Store(tmp_path)
    run = store.begin("job", 1, owner="key_a")
    store.append(rows("a", "b", run=run.run, expert="large"), NIGHT)
    store.append(rows("b", "c", run=run.run, expert="large"), MORNING)
    store.append(rows("d", expert="small"), MORNING)
    store.charge([Charge(run.run, "q", "small", 1, 2, 0.25)], MORNING)
    found = [tuple(row.values()) for row in store.spend(("day", "expert", "owner"))]
    assert found == [
        ("2031-11-30", "large", "key_a", 2, 14, 8, 1.0),
        ("2031-12-01", "large", "key_a", 1, 7, 4, 0.5),
        ("2031-12-01", "small", "", 1, 7, 4, 0.5),
        ("2031-12-01", "small", "key_a", 0, 1, 2, 0.25),
    ]
    assert [tuple(row.values())[:2] for row in store.spend(("owner",))] == [("", 1), ("key_a", 3)]
    assert sum(row["answers"] for row in store.spend(("expert",), since="2031-12-01")) == 2


def test_lines_of_open_batches_are_held_until_they_are_collected(tmp_path: Path, beside: Beside) -> None:
    """After a kill too; whoever collects them needs no more room, for they were sent before."""
    other = beside(
        tmp_path,
        "from leeroo.engine.store.batches import BatchLine;"
        "run = store.begin('job', 1); claimed(store, run, keys('a', 'b'), [0.5, 0.25], 'large');"
        "store.keep_batch('t', run.run, 'e', 'large', [BatchLine(key('a'), 't', 'q', 'large', 'f', 1)])",
    )
    other.kill()
    other.wait()
    store = Store(tmp_path)
    store.set_caps({"day": 0.75})
    assert [(cap.used, cap.held) for cap in store.caps()] == [(0.25, 0.5)]
    run = store.begin("job", 1)
    assert claimed(store, run, keys("c"), [0.01], "large") == [False]
    assert claimed(store, run, keys("a"), [0.5], "large") == [True]
    assert [(cap.used, cap.held) for cap in store.caps()] == [(0.25, 0.5)]
    store.append(rows("a", run=run.run, expert="large", list_cost_usd=0.125))
    assert [(cap.used, cap.held) for cap in store.caps()] == [(0.375, 0.0)]
