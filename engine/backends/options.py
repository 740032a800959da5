"""Options: what a pool file says under [expert.engine], checked by the backend that it is for."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]


class ReplayOptions(BaseModel):
    """Of recorded outcomes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tokens_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class TransformersOptions(BaseModel):
    """Of models that transformers loads."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    device: str | None = Field(default=None, pattern=r"^(cpu|mps|(cuda|xpu)(:\d+)?)$")
    batch_size: Count | None = None
    max_model_len: Count | None = None
    attn_implementation: Text | None = None
    revision: Text | None = None


class VLLMOptions(BaseModel):
    """Of vLLM's many options those that are set most; it checks the others itself when it starts."""

    model_config = ConfigDict(extra="allow", strict=True)

    dtype: Text | None = None
    revision: Text | None = None
    max_model_len: int | None = Field(default=None, ge=-1)  # -1: as long as fits
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    tensor_parallel_size: Count | None = None
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)


_OPTIONS: dict[str, type[BaseModel]] = {
    "replay": ReplayOptions,
    "transformers": TransformersOptions,
    "vllm": VLLMOptions,
}

Model = TypeVar("Model", bound=BaseModel)


def check_options(expert: Expert, backend: str) -> None:
    """Check the engine options of an expert that this backend is for. Raises as `engine_options`."""
    if backend in _OPTIONS:
        engine_options(expert, _OPTIONS[backend])


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
