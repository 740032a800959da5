"""The endpoint of an expert: the address its requests go to, its key, and texts that must never be shown.

The key of OpenAI goes to OpenAI alone. Any other server gets the key that its pool entry names, or none.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert

OPENAI = "https://api.openai.com/v1"
_OPENAI_HOST = "api.openai.com"
_OPENAI_KEY = "OPENAI_API_KEY"
# The openai client would send everything to the address in this variable. Rows go only where the pool file sends them.
_ELSEWHERE = "OPENAI_BASE_URL"
# A shorter key is a placeholder ("none", "EMPTY", "ollama"), and such words occur in ordinary text.
_LEAST_KEY = 8
_SECRET_QUERY = re.compile(r"key|token|secret|sig|pass", re.IGNORECASE)


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and with which key.

    Attributes:
        url: Without user, password and query.
        query: The query of the address, sent with each request.
        variable: The environment variable that holds the key; None where no key is sent.
        key: The key, None where it is not set.
        authorization: A header for `user:password@` in the address.
        secrets: Texts that are removed from whatever is shown.

    """

    url: str
    query: Mapping[str, str]
    variable: str | None
    key: str | None
    authorization: str | None
    secrets: tuple[str, ...]

    def redact(self, text: str) -> str:
        """Return a text without the secrets in it."""
        for secret in self.secrets:
            text = text.replace(secret, "[redacted]")
        return text


def endpoint_of(expert: Expert) -> Endpoint:
    """Read where an expert's requests go, and its key from the environment.

    Raises:
        PoolError: the address is wrong, or the key cannot be sent as it is.

    """
    parts = _parts(expert)
    openai = parts.hostname == _OPENAI_HOST and parts.scheme == "https"
    variable = expert.api_key_env or (_OPENAI_KEY if openai else None)
    raw = os.environ.get(variable, "") if variable else ""
    key = raw.strip()
    if not key.isprintable() or not key.isascii():
        raise PoolError(
            f"expert {expert.name!r}: the key in {variable} has a line break or another character in it that no key has"
        )
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    userinfo = unquote(parts.netloc.rpartition("@")[0])
    basic = base64.b64encode(userinfo.encode()).decode()
    password = parts.password or ""
    shown = [secret for secret in (raw, key) if len(secret) >= _LEAST_KEY]
    shown += [userinfo, unquote(password), password, basic]
    shown += [value for name, value in query.items() if _SECRET_QUERY.search(name)]
    # The longest first: a part of a secret must not break up the whole.
    secrets = tuple(sorted({each for each in (*shown, *map(quote, shown)) if each}, key=len, reverse=True))
    return Endpoint(address, query, variable, key or None, f"Basic {basic}" if userinfo else None, secrets)


def missing_key(expert: Expert) -> str | None:
    """Return why an expert's requests cannot be sent, None where they can."""
    try:
        endpoint = endpoint_of(expert)
    except PoolError as error:
        return str(error)
    if endpoint.variable is not None and endpoint.key is None:
        return f"the environment variable {endpoint.variable} with its API key is not set"
    elsewhere = os.environ.get(_ELSEWHERE, "").rstrip("/")
    if endpoint.url == OPENAI and expert.base_url is None and elsewhere not in ("", OPENAI):
        return f"{_ELSEWHERE} is set, and pools do not follow it: write base_url into the pool file, or unset it"
    return None


def destination(expert: Expert) -> str:
    """Return where an expert's rows go and the name of their key, never the key."""
    try:
        endpoint = endpoint_of(expert)
    except PoolError:
        return "nowhere"
    where = endpoint.url or str(expert.engine.get("provider"))
    if endpoint.variable is not None:
        return f"{where} with the key in {endpoint.variable}"
    # Providers that any-llm-sdk knows have variables of their own for their keys.
    return where if not endpoint.url else f"{where} without a key"


def _parts(expert: Expert) -> SplitResult:
    """Split the address of an expert.

    Raises:
        PoolError: it is no address of an API.

    """
    if expert.base_url is None and "provider" in expert.engine:
        return urlsplit("")  # any-llm-sdk knows where
    address = (expert.base_url or OPENAI).strip()
    where = f"expert {expert.name!r}: base_url"
    wrong = PoolError(f"{where} is no address of a server: write it as https://host/v1")
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError as error:
        raise wrong from error
    if not valid:
        raise wrong
    path = parts.path.rstrip("/")
    if path.endswith("/completions"):
        raise PoolError(f"{where} ends with {path!r}: leave out what stands behind /v1")
    return parts._replace(path=path)
