"""Pool files: which experts exist, what they cost, where they may run.

An expert is a model with its prompt template, limits, price and place. Two experts may share a model.
"""

from __future__ import annotations

import difflib
import importlib.resources
import json
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from leeroo.engine.effort import LEVELS, thinking_tokens
from leeroo.engine.errors import PoolError
from leeroo.engine.pool_prices import LISTED, OF_FILE, NoPrice, with_prices
from leeroo.engine.prices import ListPrice, Rates, cheapest_price

# The embedded local pool and its router, which ship with the package.
_SHIPPED = Path(str(importlib.resources.files("leeroo") / "data"))
DEFAULT_POOL, DEFAULT_ROUTER = _SHIPPED / "pool.toml", _SHIPPED / "router"

# They name a pool file and the folder of a router (or 'none') where a call or a command names none.
POOL_VARIABLE, ROUTER_VARIABLE = "LEEROO_POOL", "LEEROO_ROUTER"

# Keys that came after runs were first kept: the names of those runs do not have them.
_LATER_KEYS = (
    *("effort", "batch", "batch_discount", "usd_per_m_cache_write", "adapter", "adapters", "kind", "dimensions"),
    "images",
)
# Keys of older pool files, and their names today.
_RENAMED = {"usd_per_m_cached": "usd_per_m_cached_input"}
# Keys of today, as names of runs have them.
_KEPT_AS = {"usd_per_m_cached_input": "usd_per_m_cached", "list_price": "price_source"}

# Keys of an expert that are computed from the others.
_FILLED_IN = ("list_price", "adapters")

# Characters of a value that an error quotes.
_SHOWN = 200

# The most numbers of a vector: known models have up to 8,192.
MOST_DIMENSIONS = 16_384
# Keys that say how a model answers, and mean nothing for one that embeds.
_OF_ANSWERS = ("adapter", "batch", "effort", "system", "batch_discount")


class Cluster(BaseModel):
    """The resources of an expert on a Ray cluster.

    Attributes:
        replicas: Actors at most, each with the model loaded.
        num_cpus, num_gpus: Of each; without, one GPU where the cluster has any and vLLM may run the expert, else none.
        resources: Of each, by the names that the cluster gives them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: int = Field(default=1, gt=0)
    num_cpus: float = Field(default=1, ge=0, allow_inf_nan=False)
    num_gpus: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    resources: dict[str, float] = {}


class Expert(BaseModel):
    """One expert of a pool, as written in the file, with the price filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+-]*$", max_length=200)
    model: str = Field(min_length=1)
    kind: Literal["answer", "embed"] = "answer"  # one that embeds gives vectors, and answers no question
    dimensions: int | None = Field(default=None, gt=0, le=MOST_DIMENSIONS)  # the numbers of a vector that it gives
    adapter: str | None = Field(default=None, min_length=1)  # LoRA adapter of the model, a folder or hub id
    adapters: tuple[str, ...] = ()  # those of all experts that share its engine; a pool fills them in
    backend: Literal["auto", "vllm", "transformers", "openai", "replay"] = "auto"
    usd_per_m_input: float = Field(ge=0, allow_inf_nan=False)
    usd_per_m_output: float = Field(ge=0, allow_inf_nan=False)
    # Input read from the provider's cache, and written to it; None: at the price of input.
    usd_per_m_cached_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    usd_per_m_cache_write: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    list_price: ListPrice | None = None  # None where the file gives the price
    location: Literal["local", "remote"] = "local"
    max_tokens: int = Field(default=256, gt=0)  # of the answer, without the thoughts of `effort`
    effort: str | None = None  # how hard it thinks: a level of `effort.LEVELS`, or tokens; None: as the model does
    images: bool | None = None  # whether it can see images; None: as the settings of a local model say
    system: str | None = None
    template: str | None = None
    tags: tuple[str, ...] = ()
    memory_gib: float | None = Field(default=None, gt=0)
    api_key_env: str | None = None
    base_url: str | None = None
    batch: bool = False  # asked through the provider's own batch API: cheaper, within hours
    batch_discount: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)  # factor on all its prices
    engine: dict[str, Any] = {}
    ray: Cluster = Cluster()

    @field_validator("name")
    @classmethod
    def _is_no_route(cls, name: str) -> str:
        if name.casefold() == "leeroo":
            raise ValueError("is the name that has experts chosen; call this one otherwise")
        return name

    @field_validator("backend")
    @classmethod
    def _takes_adapters(cls, kind: str, others: ValidationInfo) -> str:
        if others.data.get("adapter") is not None and kind not in ("auto", "vllm", "transformers"):
            raise ValueError("an adapter is of a model that is loaded here; leave 'adapter' out")
        return kind

    @field_validator("base_url")
    @classmethod
    def _has_a_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.lower().startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url

    @field_validator("effort", mode="before")
    @classmethod
    def _is_a_level(cls, effort: Any) -> Any:
        text = str(effort) if isinstance(effort, str | int) and not isinstance(effort, bool) else ""
        # Eight digits are more than any model thinks, and few enough to be read as a number.
        tokens = text.isascii() and text.isdigit() and len(text) <= 8 and 0 < int(text) < 2**24
        if effort is None or text in LEVELS or tokens:
            return effort if effort is None else text
        raise ValueError(f"must be one of {', '.join(LEVELS)}, or a number of tokens")

    @field_validator("template")
    @classmethod
    def _has_one_place(cls, template: str | None) -> str | None:
        if template is not None and template.count("{question}") != 1:
            raise ValueError("must contain {question} exactly once")
        return template

    @model_validator(mode="after")
    def _embeds(self) -> Expert:
        if self.kind == "answer":
            if self.dimensions is not None:
                raise ValueError('dimensions is for an expert with kind = "embed"')
            return self
        given = [key for key in _OF_ANSWERS if getattr(self, key)]
        if given:
            raise ValueError(f'{given[0]} is for an expert that answers; leave it out where kind = "embed"')
        if self.backend == "replay":
            raise ValueError('kind = "embed" is for backend = "transformers", "vllm" or "openai", not "replay"')
        if self.backend == "openai" and self.dimensions is None:
            raise ValueError("dimensions is missing: the numbers of a vector that the API gives, as 1536")
        return self

    @model_validator(mode="after")
    def _has_batches(self) -> Expert:
        if self.batch and self.backend not in ("openai", "replay"):
            raise ValueError(f'batch = true is for backend = "openai" or "replay", not {self.backend!r}')
        if self.batch_discount is not None and not self.batch:
            raise ValueError("batch_discount is for an expert with batch = true")
        return self

    @model_validator(mode="before")
    @classmethod
    def _place(cls, given: dict[str, Any]) -> dict[str, Any]:
        remote = given.get("backend") == "openai"
        own = {"adapters": (given["adapter"],)} if given.get("adapter") else {}
        return {"location": "remote" if remote else "local", **own, **given}

    @property
    def thinking_tokens(self) -> int:
        """The most tokens that it may think before each answer, where its `effort` says so; else 0."""
        return 0 if self.effort is None else thinking_tokens(self.effort)

    @property
    def description(self) -> str:
        """All that its entry says, as JSON, which names of runs are computed from; list prices are of their day."""
        unset = {key for key in _LATER_KEYS if getattr(self, key) == Expert.model_fields[key].default}
        written = self.model_dump(mode="json", exclude=unset if self.list_price is None else unset | LISTED)
        kept = {_KEPT_AS.get(key, key): value for key, value in written.items()}
        return json.dumps(kept, separators=(",", ":"), ensure_ascii=False)

    @property
    def rates(self) -> tuple[Rates, ...]:
        """What it costs now, from short prompts to long ones; batch prices, where it answers in batches."""
        return self._rates_of_file if self.list_price is None else self.list_price.rates()

    @property
    def highest_rates(self) -> tuple[Rates, ...]:
        """The most that it may cost in the coming day, from short prompts to long ones."""
        return self._rates_of_file if self.list_price is None else self.list_price.highest_rates()

    @property
    def is_free(self) -> bool:
        """Whether nothing that it does costs anything."""
        return not any(usd for _, *prices in self.highest_rates for usd in prices)

    @property
    def price_source(self) -> str:
        """Where its prices stand, and of which day they are."""
        if self.list_price is not None:
            return self.list_price.source
        batch = f", batch at {self.batch_discount:g}" if self.batch_discount not in (None, 1) else ""
        return "price 0 in the pool file" if self.is_free else f"{OF_FILE}{batch}"

    @property
    def _rates_of_file(self) -> tuple[Rates, ...]:
        given = (
            self.usd_per_m_input,
            self.usd_per_m_output,
            self.usd_per_m_input if self.usd_per_m_cached_input is None else self.usd_per_m_cached_input,
            self.usd_per_m_input if self.usd_per_m_cache_write is None else self.usd_per_m_cache_write,
        )
        factor = 1.0 if self.batch_discount is None else self.batch_discount
        return (Rates(-1, *(usd * factor for usd in given)),)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names that describe its model; a folder of many experts' outcomes describes none."""
        if self.backend == "replay":
            return (self.name,)
        parts = (part.rstrip("/").rsplit("/", 1)[-1] for part in (self.adapter, self.model) if part is not None)
        return (*parts, self.name)


class Pool(BaseModel):
    """The experts of a pool file, in its order; those that embed are apart, so that no question goes to them."""

    model_config = ConfigDict(frozen=True)

    default: str
    experts: tuple[Expert, ...]
    embedders: tuple[Expert, ...] = ()

    @field_validator("experts")
    @classmethod
    def _share_engines(cls, experts: tuple[Expert, ...]) -> tuple[Expert, ...]:
        """Give each expert the adapters of all that share its engine, which is loaded with room for them."""

        def adapters(one: Expert) -> tuple[str, ...]:
            sharing = (other for other in experts if (other.model, other.engine) == (one.model, one.engine))
            return tuple(sorted({other.adapter for other in sharing if other.adapter is not None}))

        return tuple(e.model_copy(update={"adapters": adapters(e)}) for e in experts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all experts, in the order of the file."""
        return tuple(e.name for e in self.experts)

    def __getitem__(self, name: str) -> Expert:
        """Return the expert of this name.

        Raises:
            PoolError: there is none.
        """
        for expert in self.experts:
            if expert.name == name:
                return expert
        if any(e.name == name for e in self.embedders):
            raise PoolError(f"the expert {name!r} embeds and answers no question; use it as model := in leeroo_embed")
        raise PoolError(f"no expert is called {name!r}; the pool has: {', '.join(self.names)}")

    def embedder(self, name: str) -> Expert:
        """Return the expert of this name that embeds.

        Raises:
            PoolError: there is none.
        """
        for expert in self.embedders:
            if expert.name == name:
                return expert
        there = ", ".join(e.name for e in self.embedders) or "none"
        raise PoolError(
            f'no expert called {name!r} embeds; those with kind = "embed" in the pool are: {there};'
            " leave model out for the router's own encoder"
        )


def default_pool() -> Path:
    """Return the pool file when none is named: that of LEEROO_POOL, or the embedded one."""
    return Path(os.environ.get(POOL_VARIABLE) or DEFAULT_POOL)


def default_router(pool: Path) -> Path | None:
    """Return the router when none is named: that of LEEROO_ROUTER, or the embedded one with the embedded pool."""
    named = os.environ.get(ROUTER_VARIABLE)
    return Path(named) if named else DEFAULT_ROUTER if pool == DEFAULT_POOL else None


def load_pool(path: str | Path) -> Pool:
    """Read and check a pool file; paths in it are relative to its folder.

    Raises:
        PoolError: it cannot be read, or something in it is wrong; one line that says what and where.
    """
    path = Path(path)
    raw = _read(path)
    unknown = set(raw) - {"default", "expert"}
    if unknown:
        keys = ", ".join(map(_quote, sorted(unknown)))
        raise PoolError(f"{path}: unknown key {keys}; a pool file holds 'default' and [[expert]] tables")
    entries = raw.get("expert")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise PoolError(f"{path}: no experts; add at least one [[expert]] table with a name and a model")
    experts = tuple(_expert(path, i, entry) for i, entry in enumerate(entries))
    names = [e.name for e in experts]
    for name in names:
        if names.count(name) > 1:
            raise PoolError(f"{path}: two experts are called {_quote(name)}; rename one of them")
    answering = [e.name for e in experts if e.kind == "answer"]
    if not answering:
        raise PoolError(f'{path}: all experts have kind = "embed"; add at least one that answers')
    default = raw.get("default", answering[0])
    if default not in answering:
        raise PoolError(f"{path}: default = {_quote(default)} names no expert; the pool has: {', '.join(answering)}")
    embedders = tuple(e for e in experts if e.kind == "embed")
    return Pool(default=default, experts=tuple(e for e in experts if e.kind == "answer"), embedders=embedders)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a byte order mark
    except OSError as error:
        raise PoolError(f"cannot read the pool file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PoolError(f"{path} is not valid TOML: {error}") from error


def _expert(path: Path, position: int, entry: dict[str, Any]) -> Expert:
    name = entry.get("name", f"number {position + 1}")
    where = f"{path}: expert {_quote(name)}" if "name" in entry else f"{path}: expert {name}"
    if "model" not in entry:
        raise PoolError(f"{where}: 'model' is missing; give a hub id, a local folder or a GGUF file")
    for key in _FILLED_IN:
        if key in entry:
            raise PoolError(f"{where}: {key!r} is not set by hand; leave it out")
    entry = {_RENAMED.get(key, key): value for key, value in entry.items()}
    entry |= {"model": _locate(path, where, entry), "engine": _locate_certificates(path, entry)}
    if isinstance(entry.get("adapter"), str) and entry["adapter"]:
        entry["adapter"] = _on_disk(path, where, "adapter", entry["adapter"]) or entry["adapter"]
    try:
        return Expert.model_validate(with_prices(entry))
    except NoPrice as error:
        raise PoolError(f"{where}: {error}") from error
    except ValidationError as error:
        raise PoolError(f"{where}: {_sentence(error)}") from error


def _locate(path: Path, where: str, entry: dict[str, Any]) -> Any:
    """Return the model, made absolute when it is a path; it has to exist then."""
    model = entry["model"]
    if not isinstance(model, str) or entry.get("backend") == "openai":
        return model
    if _is_of_an_api(entry) and not (path.parent / os.path.expanduser(model)).exists():
        raise PoolError(f'{where}: the model {_quote(model)} is asked through an API: add backend = "openai"')
    return _on_disk(path, where, "model", model, has_to_be=entry.get("backend") == "replay") or model


def _on_disk(path: Path, where: str, key: str, name: str, *, has_to_be: bool = False) -> str | None:
    """Return the absolute path of a model or adapter; None where its name is that of a hub."""
    there = path.parent / os.path.expanduser(name)
    if os.path.exists(there):
        return str(there.resolve())
    if has_to_be or name.startswith((".", "/", "~")) or name.endswith(".gguf") or name.count("/") > 1:
        raise PoolError(f"{where}: the {key} {_quote(name)} does not exist (looked for {_quote(str(there))})")
    return None


def _locate_certificates(path: Path, entry: dict[str, Any]) -> Any:
    """Return the engine options, with the file of certificates made absolute."""
    engine = entry.get("engine", {})
    if not isinstance(engine, dict) or not isinstance(engine.get("ca_file"), str):
        return engine
    return {**engine, "ca_file": str((path.parent / os.path.expanduser(engine["ca_file"])).resolve())}


def _is_of_an_api(entry: dict[str, Any]) -> bool:
    """Return whether a model has a name of an API that is in the price lists, and nothing says where it runs."""
    return (
        "/" not in entry["model"]
        and entry.get("backend", "auto") == "auto"
        and cheapest_price(entry["model"]) is not None
    )


def _sentence(error: ValidationError) -> str:
    """Return the first complaint of pydantic, as a sentence that says how to mend it."""
    first = error.errors()[0]
    key = ".".join(
        part if part.isprintable() and len(part) < _SHOWN else _quote(part) for part in map(str, first["loc"])
    )
    if first["type"] == "missing":
        return f"{_quote(key)} is missing"
    if first["type"] == "extra_forbidden":
        keys = [name for name in Expert.model_fields if name not in _FILLED_IN]
        close = difflib.get_close_matches(key, keys, 1)
        return f"unknown key {_quote(key)}; " + (
            f"did you mean {close[0]!r}?" if close else f"keys are: {', '.join(keys)}"
        )
    message = first["msg"].removeprefix("Value error, ")
    return f"{key} = {_quote(first['input'])}: {message[0].lower()}{message[1:]}"


def _quote(value: object) -> str:
    """Return a value of a pool file as its error quotes it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
