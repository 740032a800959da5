"""The router's folder on disk: `router.json` for people and checks, `numbers.npz` for the numbers.

Nothing in it is executed. Knows the shapes of the numbers, not what they mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from leeroo.engine.errors import OutputError, RouterError
from leeroo.engine.orchestrator.adapter import Adapter
from leeroo.engine.orchestrator.features import Features
from leeroo.engine.orchestrator.heads import Heads
from leeroo.engine.orchestrator.summary import Summary
from leeroo.engine.orchestrator.text_features import TEXT_FEATURES
from leeroo.engine.tables.outputs import check_own, new_folder

FORMAT = 2
ADAPTER = "adapter"
_CARD, NUMBERS = "router.json", "numbers.npz"
# Files beside them that people and `shipped` read; a router needs none of them.
ABOUT, CARD_FOR_PEOPLE = "about.json", "CARD.md"
FILES = (_CARD, NUMBERS, ABOUT, CARD_FOR_PEOPLE)
_NAMES = ("encoders", "experts", "subjects", "categories", "adapter")
_LIBRARIES = ("leeroo", "numpy", "torch", "transformers", "sentence-transformers")
_NUMBERS = {*Heads.__dataclass_fields__, *Features.__dataclass_fields__, "probe"}

# Arrays that `leeroo train --cascades` of older versions stored too. Their hash is checked.
_DROPPED = {
    f"precedents_{name}" for name in ("log_odds", "tokens", "answers", "scores", "prompt_tokens", "completion_tokens")
}

# The axes of every array: d numbers of the blocks, m landmarks, k features, h features in context, e experts,
# c kinds of contexts, p numbers of the probe. A digit is itself.
_AXES = {
    "mean": "d", "scale": "d", "weight": "d", "landmarks": "md", "contexts": "mc", "width": "2", "probe": "p",
    "score_weight": "ke", "score_bias": "e", "context_weight": "he", "context_bias": "e",
    "length_weight": "me", "length_bias": "e", "length_log": "e", "length_scale": "e", "length_low": "e",
    "length_high": "e", "prompt_line": "3e", "latency_line": "2e",
}  # fmt: skip
_WHOLE_NUMBERS = {"contexts"}
# Unknown lengths and times are NaN; everything else is a number.
_MAY_LACK = {name for name in _AXES if name.startswith(("length_", "latency_"))}

Names = dict[str, list[str]]
Numbers = dict[str, npt.NDArray[Any]]


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice")
    return names


Distinct = Annotated[list[str], AfterValidator(_distinct)]


class RouterCard(BaseModel):
    """The content of `router.json`.

    `numbers_sha256` is of the other file, so that a damaged one is not even opened.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    fingerprint: str
    numbers_sha256: str
    encoders: list[str]
    experts: Distinct
    subjects: Distinct
    categories: Distinct
    adapter: list[str]
    training: Summary
    libraries: dict[str, str]


def fingerprint(names: Names, numbers: Numbers) -> str:
    """Return SHA-256, in hex, of everything that decides a router's predictions."""
    digest = hashlib.sha256(json.dumps([FORMAT, names], sort_keys=True).encode())
    for name, array in sorted(numbers.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save(
    path: Path, names: Names, numbers: Numbers, training: Summary, adapter: Path | None, *, half: bool = False
) -> None:
    """Write a router folder next to its place, with a copy of its adapter if it has one, then move it there.

    Args:
        path: The folder.
        names, numbers, training, adapter: The router.
        half: Store landmarks as float16 and compress all, for a folder of half the size: predicted scores move by
            0.0002 at most. Weights as float16 would move them by 0.005.

    Raises:
        OutputError: it cannot be written there, or something that is not a router is in the way.
    """
    check_place(path)
    packed = io.BytesIO()
    if half:
        numbers = {**numbers, "landmarks": _cast(numbers["landmarks"], np.float16)}
    write = np.savez_compressed if half else np.savez
    write(packed, **numbers)  # type: ignore[arg-type]  # its stub takes a name for a flag
    card = RouterCard(
        format=FORMAT,
        fingerprint=fingerprint(names, numbers),
        numbers_sha256=hashlib.sha256(packed.getvalue()).hexdigest(),
        **names,
        training=training,
        libraries=_libraries(),
    )
    try:
        with new_folder(path) as fresh:
            (fresh / _CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
            (fresh / NUMBERS).write_bytes(packed.getvalue())
            if adapter is not None:
                shutil.copytree(adapter, fresh / ADAPTER)
    except OSError as error:
        raise OutputError(f"the router cannot be written to {path}: {error.strerror or error}") from error


def check_place(path: Path) -> None:
    """Check that a router may be written to this folder: there is none, an empty one, or an older router.

    Raises:
        OutputError: something else is there, or its folder cannot be written to.
    """
    try:
        theirs = path.exists() and not (path / _CARD).is_file() and not (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise OutputError(f"the router cannot be written to {path}: {error.strerror or error}") from error
    if theirs:
        raise OutputError(f"{path} exists and is not a router: name another folder for the new one")
    check_own(path, (*FILES, ADAPTER))


def load(path: Path) -> tuple[RouterCard, Numbers]:
    """Read a router folder and check that it is whole; numbers that are stored as float16 become float32.

    Raises:
        RouterError: it is absent, not a router's, damaged, or of another version.
    """
    if not path.exists():
        raise RouterError(f"there is no router at {path}: train one with leeroo train --data DIR --out {path}")
    card = read_card(path)
    numbers = _read_numbers(path, card)
    names: Names = {name: getattr(card, name) for name in _NAMES}
    if fingerprint(names, numbers) != card.fingerprint:
        raise _damaged(path, f"{NUMBERS} and {_CARD} do not belong together")
    numbers = {name: _cast(array, np.float32) for name, array in numbers.items() if name not in _DROPPED}
    _check_adapter(path, card)
    _check_numbers(path, card, numbers)
    return card, numbers


def _check_adapter(path: Path, card: RouterCard) -> None:
    folder = path / ADAPTER
    if card.adapter and not folder.is_dir():
        raise _damaged(path, f"it has no folder {ADAPTER}")
    try:
        if card.adapter and Adapter(folder, card.adapter[0]).names != card.adapter:
            raise _damaged(path, f"its folder {ADAPTER} is not the one it was saved with")
    except OSError as error:
        raise _damaged(path, f"its folder {ADAPTER} cannot be read") from error


def _check_numbers(path: Path, card: RouterCard, numbers: Numbers) -> None:
    """Check that the arrays fit each other and the names; hashes alone may come from anybody."""
    sizes = {"2": 2, "3": 3, "e": len(card.experts), "c": 2 if card.subjects else 0}
    for name, array in numbers.items():
        axes = _AXES[name]
        # The first array with an axis says how long it is.
        fits = array.ndim == len(axes) and all(
            n == sizes.setdefault(axis, n) for axis, n in zip(axes, array.shape, strict=True)
        )
        if not fits or array.dtype.kind != ("i" if name in _WHOLE_NUMBERS else "f"):
            raise _damaged(
                path, f"{name} in {NUMBERS} is {array.dtype} {list(array.shape)}, which does not fit the rest"
            )
        if name not in _MAY_LACK and not np.isfinite(array).all():
            raise _damaged(path, f"{name} in {NUMBERS} has values that are no numbers")
    tuned = sizes["k"] - sizes["m"]
    if (
        not card.experts
        or not card.encoders
        or (tuned > 0) != bool(card.adapter)
        or sizes["h"] != (sizes["k"] if card.subjects else 0)
        or sizes["p"] != sizes["d"] - TEXT_FEATURES + tuned
        or not (numbers["width"] > 0).all()
    ):
        raise _damaged(path, f"the sizes in {NUMBERS} and the names in {_CARD} do not fit each other")


def read_card(path: Path) -> RouterCard:
    """Read what a router folder says of itself, without its numbers.

    Raises:
        RouterError: it is not a router's, damaged, or of another version.
    """
    if not (path / _CARD).is_file():
        raise RouterError(f"{path} is not a router folder: it has no {_CARD}")
    try:
        raw = json.loads((path / _CARD).read_text(encoding="utf-8"))
        found = raw["format"] if isinstance(raw, dict) else None
        if isinstance(found, int) and found != FORMAT:
            age = "a newer leeroo: update this one" if found > FORMAT else "an older leeroo: train it again"
            raise RouterError(f"the router {path} has format {found}, not {FORMAT}; it was made by {age}")
        return RouterCard.model_validate(raw)
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise _damaged(path, f"{_CARD} cannot be read") from error


def _read_numbers(path: Path, card: RouterCard) -> Numbers:
    try:
        packed = (path / NUMBERS).read_bytes()
        if hashlib.sha256(packed).hexdigest() != card.numbers_sha256:
            raise _damaged(path, f"{NUMBERS} and {_CARD} do not belong together")
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            numbers = {name: np.asarray(stored[name]) for name in stored.files}
    except (OSError, ValueError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        raise _damaged(path, f"{NUMBERS} cannot be read") from error
    if numbers.keys() not in (_NUMBERS, _NUMBERS | _DROPPED):
        raise _damaged(path, f"{NUMBERS} does not hold what it should")
    return numbers


def _cast(array: npt.NDArray[Any], kind: type[np.floating[Any]]) -> npt.NDArray[Any]:
    """Return an array of floating point numbers in another precision; whole numbers and texts stay."""
    return array.astype(kind, copy=False) if array.dtype.kind == "f" else array


def _damaged(path: Path, reason: str) -> RouterError:
    return RouterError(f"the router {path} is damaged ({reason}): train it again or copy it anew")


def _libraries() -> dict[str, str]:
    found = {}
    for library in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(library)
    return found
