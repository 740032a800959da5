"""An expert is given up when nothing more is to be had from it, and not for one row; what is paid for is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.select import open_backend
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from tests.provider import Provider

Requests = Callable[..., pa.RecordBatch]


def _rows(expert: Expert, batch: pa.RecordBatch) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows that came back, and why the expert was given up."""
    rows: list[dict[str, Any]] = []
    backend = open_backend(expert)
    try:
        for done in backend.generate(iter([batch])):
            rows += done.to_pylist()
    except ExpertUnavailable as error:
        return rows, str(error)
    finally:
        backend.close()
    return rows, None


@pytest.mark.parametrize("status", [403, 404])
def test_a_refused_prompt_fails_only_its_row(
    api: Provider, expert: Callable[..., Expert], requests: Requests, status: int
) -> None:
    """A gateway that refuses single prompts costs these rows alone, the first too, and others may take them."""
    api.faults, api.repeat = {"bad": [status]}, True
    rows, why = _rows(expert(), requests("bad", *(f"q{i}" for i in range(30)), "bad too"))
    assert why is None
    assert sorted(row["id"] for row in rows if row["bounced"]) == [0, 31]
    assert sum(row["error"] is None for row in rows) == 30


def test_a_key_that_was_taken_before_fails_only_its_row(
    api: Provider, expert: Callable[..., Expert], requests: Requests
) -> None:
    """A refusal of the key after answers is that row's error."""
    api.faults, api.repeat = {"bad": [401]}, True
    rows, why = _rows(expert(concurrency=1), requests("q", "bad", "q too"))
    assert why is None
    assert [row["error"] is None for row in rows] == [True, False, True]


@pytest.mark.parametrize(
    ("status", "calls", "says"),
    [(401, 1, "the API refuses the key: 401"), (403, 2, "refuses the key: 403"), (404, 2, "does not know 'm': 404")],
)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_an_expert_that_is_refused_from_the_first_ends_at_once(
    api: Provider, expert: Callable[..., Expert], requests: Requests, status: int, calls: int, says: str, rows: int
) -> None:
    """A key that is refused ends the expert with the first call, a model with the second; every row may go to another."""
    api.faults, api.repeat = {"q": [status]}, True
    back, why = _rows(expert(), requests(*(f"q{i}" for i in range(rows))))
    assert says in (why or "")
    assert "\n" not in (why or "")
    assert all(row["bounced"] for row in back)
    assert sum(api.asked.values()) == min(calls, rows)


@pytest.mark.parametrize("behaviour", ["insufficient_quota", "402"])
def test_an_empty_account_ends_the_expert_at_once(
    api: Provider, expert: Callable[..., Expert], requests: Requests, behaviour: str
) -> None:
    """One such reply is enough, whatever came before it."""
    api.does = {"q2": behaviour}
    rows, why = _rows(expert(concurrency=1), requests(*(f"q{i}" for i in range(9))))
    assert ("quota" if behaviour != "402" else "402 Payment Required: Insufficient credits") in (why or "")
    assert sum(api.asked.values()) == 3
    assert [row["error"] is None for row in rows] == [True, True, False]


@pytest.mark.parametrize("behaviour", ["bad_heat", "quotes_money"])
def test_rows_that_a_server_refuses_do_not_end_the_expert(
    api: Provider, expert: Callable[..., Expert], requests: Requests, behaviour: str
) -> None:
    """However many rows in a row get a 400, and whatever its text quotes, the others are sent."""
    api.does = {"bad": behaviour}
    batch = requests("first", *(f"bad {i}" for i in range(20)), "last")
    rows, why = _rows(expert(concurrency=1), batch)
    assert why is None
    assert sum(row["error"] is None for row in rows) == 2


def test_what_is_in_flight_is_kept(api: Provider, expert: Callable[..., Expert], requests: Requests) -> None:
    """When the expert ends among calls that are under way, their answers come back first."""
    api.does = {"no money": "402"}
    slow = [f"slow {i}" for i in range(7)]
    api.delay_s = 0.3
    batch = requests("no money", *slow, *(f"q{i}" for i in range(50)))
    rows, why = _rows(expert(concurrency=8), batch)
    assert "402" in (why or "")
    answered = sum(row["error"] is None for row in rows)
    assert answered == len(api.bills)
    assert sum(api.asked.values()) < 25


def test_rows_before_the_end_go_to_others(api: Provider, expert: Callable[..., Expert], requests: Requests) -> None:
    """The failures that give an expert up are not lost: another expert may take every one of them."""
    api.faults, api.repeat = {"q": [500]}, True
    rows, why = _rows(expert(max_retries=0, concurrency=2), requests(*(f"q{i}" for i in range(60))))
    assert "8 requests in a row failed, the last one so: 500 Internal Server Error" in (why or "")
    assert len(rows) < 12
    assert all(row["bounced"] for row in rows)


@pytest.mark.parametrize("busy", ["429_minute", 503])
def test_retries_end_with_the_expert(
    api: Provider, expert: Callable[..., Expert], requests: Requests, busy: int | str
) -> None:
    """A call that waits for its next try, or its turn, is not waited for once the expert has ended."""
    api.faults, api.repeat = {"busy": [busy]}, True
    api.does, api.delay_s = {"money": "402"}, 0.2
    rows, why = _rows(expert(max_retries=100), requests("fine", "busy", "money", *(f"q{i}" for i in range(40))))
    assert "402" in (why or "")
    assert sorted(row["id"] for row in rows)[:3] == [0, 1, 2]
    assert len(rows) < 40
