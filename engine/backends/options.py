"""Engine options: what a pool file may say under [expert.engine], as a model for each kind of backend."""

from __future__ import annotations

import json
import re
import ssl
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert

# The names that headers can have, and those of the client alone.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OF_THE_CLIENT = frozenset({"connection", "content-length", "content-type", "transfer-encoding"})
# Options that may hold secrets: their values are in no error.
_HIDDEN = frozenset({"headers", "organization", "project", "proxy"})

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReplayOptions(_Options):
    """Options of recorded outcomes; `context_tokens` as in `OpenAIOptions`."""

    context_tokens: Count | None = None
    tokens_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class EncoderOptions(_Options):
    """Options of sentence encoders: none."""


class TransformersOptions(_Options):
    """Options of models that transformers loads."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    device: str | None = Field(default=None, pattern=r"^(cpu|mps|(cuda|xpu)(:\d+)?)$")
    batch_size: Count | None = None
    max_model_len: Count | None = None
    attn_implementation: Text | None = None
    revision: Text | None = None


class VLLMOptions(BaseModel):
    """The options of vLLM that are set most; it checks all others itself when it starts."""

    model_config = ConfigDict(extra="allow", strict=True)

    dtype: Text | None = None
    revision: Text | None = None
    max_model_len: int | None = Field(default=None, ge=-1)  # -1: as long as fits
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    tensor_parallel_size: Count | None = None
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)


class ClientOptions(_Options):
    """Options of the connection to a server; a text `env:NAME` is the value of that environment variable.

    Attributes:
        headers: Sent with each request, in place of the client's own of the same name.
        organization: OpenAI's header for the organization that is billed.
        project: OpenAI's header for the project that is billed.
        proxy: The address of an HTTP proxy.
        ca_file: Certificates in PEM form, trusted beside those of the system.

    """

    headers: dict[str, Text] = {}
    organization: Text | None = None
    project: Text | None = None
    proxy: Text | None = None
    ca_file: Text | None = None

    @field_validator("headers")
    @classmethod
    def _are_names(cls, given: dict[str, str]) -> dict[str, str]:
        for name in given:
            if not _HEADER.fullmatch(name) or name.casefold() in _OF_THE_CLIENT:
                raise ValueError(f"{name!r} is no header that can be set")
        return given

    @field_validator("ca_file")
    @classmethod
    def _holds_certificates(cls, given: str | None) -> str | None:
        if given is not None:
            trust(given)
        return given


class OpenAIOptions(ClientOptions):
    """Options of servers with OpenAI's API, and of providers that any-llm-sdk knows.

    Attributes:
        concurrency: The most requests at a time; how many there are follows what the server takes.
        requests_per_minute: The most requests that leave in a minute, of all experts of this model and key.
        tokens_per_minute: Likewise, the most tokens of prompts and answers.
        max_retries: How often a request is sent again after a fault that may pass.
        timeout: Seconds for one call.
        provider: The name that any-llm-sdk has for a provider.
        poll_interval: Seconds between two looks at a batch of `batch = true`, at most.
        context_tokens: The most tokens of prompt and answer together; jobs that fill a context use it.
        extra_body: Goes into the body of each request as it is.

    """

    concurrency: Count = 64
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    max_retries: int = Field(default=6, ge=0)
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    provider: Text | None = None
    poll_interval: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    context_tokens: Count | None = None
    extra_body: dict[str, Any] = {}

    @field_validator("provider")
    @classmethod
    def _takes_no_client(cls, given: str | None, others: ValidationInfo) -> str | None:
        if given is not None and any(others.data.get(name) is not None for name in ("proxy", "ca_file")):
            raise ValueError(
                "any-llm-sdk takes neither proxy nor ca_file: set HTTPS_PROXY and SSL_CERT_FILE in the environment"
            )
        return given

    @field_validator("extra_body")
    @classmethod
    def _is_json(cls, given: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(given, allow_nan=False)
        except TypeError as error:
            raise ValueError(f"must be JSON: {error}") from None
        return given


def trust(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context that trusts the certificates of a file beside those of the system.

    Raises:
        ValueError: it cannot be read, or holds none.

    """
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise ValueError("holds no certificates in PEM form") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return context


Model = TypeVar("Model", bound=BaseModel)


def engine_options(expert: Expert, model: type[Model]) -> Model:
    """Return the engine options of an expert, as its backend's model.

    Raises:
        PoolError: an option is unknown or has a value that it cannot have; one line with its name.
    """
    try:
        return model.model_validate(expert.engine)
    except ValidationError as error:
        raise PoolError(f"expert {expert.name!r}: {complaint(error, model)}") from error


def complaint(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first complaint about engine options, in one line."""
    first = error.errors()[0]
    if not first["loc"]:  # about several together, in vLLM's words
        return f"the engine options do not go together: {first['msg'].removeprefix('Value error, ').splitlines()[0]}"
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"there is no engine option {name!r} here; there are {', '.join(model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if name in _HIDDEN else f" = {first['input']!r}"
    return f"engine option {name}{shown}: {message[0].lower()}{message[1:]}"
