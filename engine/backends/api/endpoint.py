"""The endpoint of an expert: the address its requests go to, its key, its headers, and texts that are never shown.

The key of OpenAI goes to OpenAI alone. Any other server gets the key that its pool entry names, or none.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from leeroo.engine.backends.options import ClientOptions, engine_options
from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert

OPENAI = "https://api.openai.com/v1"
_OPENAI_HOST = "api.openai.com"
_OPENAI_KEY = "OPENAI_API_KEY"
# The openai client would send everything to the address in this variable. Rows go only where the pool file sends them.
_ELSEWHERE = "OPENAI_BASE_URL"
# A shorter key is a placeholder ("none", "EMPTY", "ollama"), and such words occur in ordinary text.
_LEAST_KEY = 8
_SECRET = re.compile(r"key|token|secret|sig|pass|auth|cookie|credential", re.IGNORECASE)
# A text of a pool file that begins so is the name of the environment variable with the real one.
_FROM_VARIABLE = "env:"
# The name of the proxy among headers, which none of them can have.
_PROXY = "the proxy"
# The headers of these options of the pool file.
_BILLED = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}
# The openai client's own headers: one given in another case would be sent beside them.
_OF_THE_CLIENT = {
    name.casefold(): name for name in ("Accept", "Authorization", "User-Agent", "X-Api-Key", *_BILLED.values())
}


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and with which key.

    Attributes:
        url: Without user, password and query.
        query: The query of the address, sent with each request.
        variable: The environment variable that holds the key; None where no key is sent.
        key: The key, None where it is not set.
        headers: Headers of each request beside the client's own; None for one of the client that is not to be sent.
        proxy: The address of the proxy, None for that of the environment.
        variables: By header, the environment variable that holds its value; that of the proxy, too.
        secrets: Texts that are removed from whatever is shown.

    """

    url: str
    query: Mapping[str, str]
    variable: str | None
    key: str | None
    headers: Mapping[str, str | None]
    proxy: str | None
    variables: Mapping[str, str]
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
    texts = _texts(expert)
    # The client would send what its own variables hold to any server.
    unsent = {} if openai else dict.fromkeys(_BILLED.values())
    own = {} if key else {"Authorization": f"Basic {basic}" if userinfo else None}
    headers = {**unsent, **own, **{name: text.value for name, text in texts.items() if name != _PROXY}}
    shown = [secret for secret in (raw, key) if len(secret) >= _LEAST_KEY]
    shown += [userinfo, unquote(userinfo), unquote(parts.password or ""), basic]
    shown += [value for name, value in query.items() if _SECRET.search(name)]
    shown += [secret for name, text in texts.items() for secret in text.secrets(name)]
    # The longest first: a part of a secret must not break up the whole.
    secrets = tuple(sorted({each for each in (*shown, *map(quote, shown)) if each}, key=len, reverse=True))
    proxy = texts[_PROXY].value if _PROXY in texts else None
    variables = {name: text.variable for name, text in texts.items() if text.variable is not None}
    return Endpoint(address, query, variable, key or None, headers, proxy, variables, secrets)


class _Text(NamedTuple):
    """A text of the pool file, or of the environment variable that it names."""

    value: str
    variable: str | None

    def secrets(self, name: str) -> list[str]:
        """Return what of it must not be shown."""
        if name == _PROXY:
            parts = urlsplit(self.value)
            return [parts.netloc.rpartition("@")[0], unquote(parts.password or "")]
        if self.variable is None and not _SECRET.search(name):
            return []
        return [part for part in (self.value, *self.value.split()) if len(part) >= _LEAST_KEY]


def _texts(expert: Expert) -> dict[str, _Text]:
    """Return the headers that the pool file gives, and the proxy, with the values of environment variables.

    Raises:
        PoolError: one cannot be sent as it is.

    """
    engine = {name: value for name, value in expert.engine.items() if name in ClientOptions.model_fields}
    options = engine_options(expert.model_copy(update={"engine": engine}), ClientOptions)
    given = {header: value for name, header in _BILLED.items() if (value := getattr(options, name)) is not None}
    given |= {_OF_THE_CLIENT.get(name.casefold(), name): value for name, value in options.headers.items()}
    texts = {name: _read(value) for name, value in given.items()}
    for name, text in texts.items():
        if not text.value.isprintable() or not text.value.isascii():
            raise PoolError(
                f"expert {expert.name!r}: the header {name!r} has a line break or another character in it "
                "that no header has"
            )
    if options.proxy is not None:
        texts[_PROXY] = _read(options.proxy)
        if not _is_address(texts[_PROXY].value) and texts[_PROXY].value:
            raise PoolError(
                f"expert {expert.name!r}: engine option proxy is no address of a proxy: write it as http://host:3128"
            )
    return texts


def _read(text: str) -> _Text:
    if not text.startswith(_FROM_VARIABLE):
        return _Text(text, None)
    variable = text.removeprefix(_FROM_VARIABLE)
    return _Text(os.environ.get(variable, "").strip(), variable)


def missing_key(expert: Expert) -> str | None:
    """Return why an expert's requests cannot be sent, None where they can."""
    try:
        endpoint = endpoint_of(expert)
    except PoolError as error:
        return str(error)
    if endpoint.variable is not None and endpoint.key is None:
        return f"the environment variable {endpoint.variable} with its API key is not set"
    for name, variable in endpoint.variables.items():
        if not os.environ.get(variable, "").strip():
            what = "the address of the proxy" if name == _PROXY else f"the header {name}"
            return f"the environment variable {variable} with {what} is not set"
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
    keys = [f"{name} from {variable}" for name, variable in endpoint.variables.items() if _SECRET.search(name)]
    if keys:
        return f"{where} with the header {' and '.join(keys)}"
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
    if not _is_address(address):
        raise PoolError(f"{where} is no address of a server: write it as https://host/v1")
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    if path.endswith("/completions"):
        raise PoolError(f"{where} ends with {path!r}: leave out what stands behind /v1")
    return parts._replace(path=path)


def _is_address(text: str) -> bool:
    """Return whether a text is the address of a server."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
