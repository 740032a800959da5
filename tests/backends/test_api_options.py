"""Engine options of an API are checked before anything is sent: one line that names the option."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from leeroo.engine.backends.select import open_backend
from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concurrency": 0}, "concurrency = 0: input should be greater than 0"),
        ({"concurrency": -3}, "concurrency"),
        ({"concurrency": "16"}, "concurrency = '16': input should be a valid integer"),
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"max_retries": -1}, "max_retries"),
        ({"timeout": 0}, "timeout = 0: input should be greater than 0"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": [1]}, "timeout"),
        ({"provider": ""}, "provider"),
        ({"extra_body": "top_k"}, "extra_body = 'top_k': input should be a valid dictionary"),
        ({"extra_body": {"at": datetime.date(2024, 1, 1)}}, "must be JSON"),
        ({"extra_body": {"x": float("nan")}}, "extra_body"),
        ({"retries": 3}, "there is no engine option 'retries' here; there are concurrency, max_retries"),
    ],
)
def test_wrong_options_are_refused_by_name(expert: Callable[..., Expert], options: dict[str, Any], says: str) -> None:
    """The error names the expert and says what is wrong, in one line."""
    with pytest.raises(PoolError) as caught:
        open_backend(expert(**options))
    assert str(caught.value).startswith("expert 'api': ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
