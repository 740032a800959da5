"""Amounts of money are printed without exponents and without binary remainders."""

from __future__ import annotations

import pytest

from leeroo.engine.money import plain_usd, usd


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0.0, "$0.00"),
        (2.5, "$2.50"),
        (1234.5, "$1,234.50"),
        (0.003, "$0.003"),
        (1e-6, "$0.000001"),
        (5.1e-7, "$0.00000051"),
        (1.3949999999999999e-05, "$0.00001395"),
    ],
)
def test_an_amount_has_no_exponent(amount: float, shown: str) -> None:
    """Small amounts keep their digits, large ones their separators."""
    assert usd(amount) == shown


def test_a_column_of_amounts_lines_up() -> None:
    """Amounts have six decimals, or nine where six would hide most of the amount."""
    assert [plain_usd(each) for each in (0.0, 0.0449, 12.0, 1e-6)] == [
        "0.000000",
        "0.044900",
        "12.000000",
        "0.000001000",
    ]
