"""private := true keeps a row with local experts, in every function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect


@pytest.fixture
def con(api: Any, api_entry: Callable[..., str], pool_file: Path, store: Path) -> Iterator[Connection]:
    """Return a connection whose default expert is remote, beside two local ones."""
    local = pool_file.read_text().replace('default = "large"', "")
    pool_file.write_text('default = "remote"\n' + api_entry("remote", 1, 20) + local)
    with connect(pool=pool_file, store=store, on_warning=lambda _: None) as con:
        yield con


@pytest.mark.parametrize(
    "call",
    [
        "leeroo_answer({q}, private := {p})",
        "leeroo({q}, private := {p}).answer",
        "leeroo_answer('{{q}}', {{'q': {q}}}, private := {p})",
        "leeroo_answer({q}, temperature := 0.5, private := {p})",
        "leeroo_choice({q}, ['a', 'b'], private := {p}).choice",
        "leeroo_label({q}, ['a', 'b'], private := {p})",
        "leeroo_labelled({q}, ['a', 'b'], private := {p}).label",
        "leeroo_extract({q}, '{{}}', private := {p})",
        "leeroo_extracted({q}, '{{}}', private := {p}).value",
        "leeroo_solve({q}, private := {p}).answer",
    ],
)
def test_a_private_row_goes_to_local_experts(con: Connection, api: Any, call: str) -> None:
    """The column marks private rows, and a row where it is NULL stays here too."""
    table = "(VALUES ('What is 1 plus 1?', true), ('What is 2 plus 2?', NULL), ('What is 3 plus 3?', false)) v(q, p)"
    con.execute(f"SELECT {call.format(q='q', p='p')} FROM {table}").fetchall()
    assert api.asked
    assert all("What is 3 plus 3?" in prompt for prompt in api.asked)


def test_a_private_row_is_routed_to_local_experts(con: Connection) -> None:
    """The choice that is shown is the one that is made."""
    route = "SELECT leeroo_route('What is 1 plus 1?', private := {}).expert"
    assert con.execute(route.format("false")).fetchall() == [("remote",)]
    assert con.execute(route.format("true")).fetchall()[0][0] in ("large", "small")
