"""JSON that a model wrote, read with distrust."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text from outside.

    Raises:
        ValueError: It is not JSON, it nests too deep, or it has a number or text that JSON and UTF-8 cannot hold, such
            as NaN, 1e999 or half a character.

    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("the JSON nests too deep") from None
    return value
