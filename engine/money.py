"""Amounts of US dollars, as people read them."""

from __future__ import annotations

# Decimals of costs in tables: a tenth of the price of a token of the cheapest models.
DECIMALS = 9


def usd(amount: float) -> str:
    """Return an amount with its sign, without an exponent.

    >>> usd(0), usd(1234.5), usd(0.0449), usd(0.000001), usd(1e-12)
    ('$0.00', '$1,234.50', '$0.0449', '$0.000001', 'under $0.000000001')
    """
    if 0 < amount < 10**-DECIMALS / 2:
        return f"under {usd(10**-DECIMALS)}"
    whole, _, cents = f"{amount:,.{DECIMALS if abs(amount) < 0.001 else 6}f}".partition(".")
    return f"${whole}.{cents.rstrip('0'):0<2}"


def plain_usd(amount: float) -> str:
    """Return an amount for a column that is headed USD: six decimals, nine where six would hide most of it.

    >>> plain_usd(0), plain_usd(0.0449), plain_usd(0.0000014)
    ('0.000000', '0.044900', '0.000001400')
    """
    return f"{amount:,.{DECIMALS if 0 < abs(amount) < 0.00001 else 6}f}"
