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
        ({"requests_per_minute": 0}, "requests_per_minute = 0: input should be greater than 0"),
        ({"tokens_per_minute": 1.5}, "tokens_per_minute = 1.5: input should be a valid integer"),
        ({"max_retries": -1}, "max_retries"),
        ({"timeout": 0}, "timeout = 0: input should be greater than 0"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": [1]}, "timeout"),
        ({"provider": ""}, "provider"),
        ({"extra_body": "top_k"}, "extra_body = 'top_k': input should be a valid dictionary"),
        ({"extra_body": {"at": datetime.date(2024, 1, 1)}}, "must be JSON"),
        ({"extra_body": {"x": float("nan")}}, "extra_body"),
        ({"headers": ["a"]}, "engine option headers: input should be a valid dictionary"),
        ({"headers": {"a b": "c"}}, "'a b' is no header that can be set"),
        ({"headers": {"Content-Length": "3"}}, "'Content-Length' is no header"),
        ({"headers": {"x": 5}}, "engine option headers: input should be a valid string"),
        ({"headers": {"x-name": "Zo\u00eb"}}, "the header 'x-name' has a line break or another character"),
        ({"organization": ""}, "engine option organization: string should have at least 1 character"),
        ({"proxy": "proxy:3128"}, "engine option proxy is no address of a proxy: write it as http://host:3128"),
        ({"ca_file": "nowhere.pem"}, "ca_file = 'nowhere.pem': cannot be read: No such file"),
        ({"ca_file": __file__}, "holds no certificates in PEM form"),
        ({"provider": "anthropic", "proxy": "http://proxy:3128"}, "set HTTPS_PROXY and SSL_CERT_FILE"),
        ({"provider": "nowhere"}, "'nowhere' is not a supported provider"),
        ({"retries": 3}, "there is no engine option 'retries' here; there are headers"),
    ],
)
def test_wrong_options_are_refused_by_name(expert: Callable[..., Expert], options: dict[str, Any], says: str) -> None:
    """The error names the expert and says what is wrong, in one line."""
    with pytest.raises(PoolError) as caught:
        open_backend(expert(**options))
    assert str(caught.value).startswith("expert 'api': ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
