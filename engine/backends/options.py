"""Engine options: what a pool file may say under [expert.engine], as a model for each kind of backend."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReplayOptions(_Options):
    """Options of recorded outcomes."""

    tokens_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)


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


class OpenAIOptions(_Options):
    """Options of servers with OpenAI's API, and of providers that any-llm-sdk knows.

    Attributes:
        concurrency: Requests at a time.
        max_retries: How often a request is sent again after a fault that may pass.
        timeout: Seconds for one call.
        provider: The name that any-llm-sdk has for a provider.
        extra_body: Goes into the body of each request as it is.

    """

    concurrency: Count = 16
    max_retries: int = Field(default=6, ge=0)
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    provider: Text | None = None
    extra_body: dict[str, Any] = {}

    @field_validator("extra_body")
    @classmethod
    def _is_json(cls, given: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(given, allow_nan=False)
        except TypeError as error:
            raise ValueError(f"must be JSON: {error}") from None
        return given


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
    name = str(first["loc"][0]) if first["loc"] else "?"
    if first["type"] == "extra_forbidden":
        return f"there is no engine option {name!r} here; there are {', '.join(model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"engine option {name} = {first['input']!r}: {message[0].lower()}{message[1:]}"
