"""Engine options of a pool file are checked by type and range before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from leeroo.cli.main import app
from leeroo.engine import weights
from leeroo.engine.backends.select import load_backend, unavailable
from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert


def _expert(backend: str, **engine: Any) -> Expert:
    whole = {"name": "e", "model": "x/y", "backend": backend, "usd_per_m_input": 1, "usd_per_m_output": 1}
    return Expert.model_validate({**whole, "engine": engine})


@pytest.mark.parametrize(
    ("backend", "option", "value"),
    [
        ("replay", "tokens_per_second", 0),
        ("replay", "tokens_per_second", "fast"),
        ("replay", "tokens_per_second", float("nan")),
        ("transformers", "batch_size", 0),
        ("transformers", "batch_size", 2.5),
        ("transformers", "max_model_len", "long"),
        ("transformers", "dtype", "float99"),
        ("transformers", "device", "toaster"),
        ("transformers", "revision", 7),
        ("vllm", "tensor_parallel_size", 0),
        ("vllm", "gpu_memory_utilization", "most"),
        ("vllm", "revision", ""),
    ],
)
def test_a_value_that_cannot_be_is_one_line(backend: str, option: str, value: object) -> None:
    """The line names the expert, the option and its value."""
    with pytest.raises(PoolError, match=rf"^expert 'e': engine option {option} = .+: ") as raised:
        unavailable(_expert(backend, **{option: value}))
    assert repr(value) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_is_refused_before_anything_is_forecast(tmp_path: Path) -> None:
    """The command line ends with exit code 2 and one line, without a traceback."""
    (tmp_path / "data").mkdir()
    (tmp_path / "pool.toml").write_text(
        '[[expert]]\nname = "e"\nmodel = "data"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
        '[expert.engine]\ntokens_per_second = "fast"\n'
    )
    (tmp_path / "t.csv").write_text("question\nWho?\n")
    options = ["--pool", str(tmp_path / "pool.toml"), "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(app, ["run", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o.csv"), *options])
    assert isinstance(result.exception, PoolError | SystemExit)
    assert "tokens_per_second = 'fast'" in f"{result.output}{result.exception}"


def test_a_revision_is_fetched_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The revision goes to the hub, and the error names it where it cannot be fetched."""
    import huggingface_hub

    fetched: list[str | None] = []

    def download(_: str, revision: str | None = None, **_more: object) -> str:
        fetched.append(revision)
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(PoolError, match="'x/y' at revision 'v2' is not on this machine"):
        load_backend(_expert("transformers", revision="v2"))
    assert fetched == ["v2"]


def test_another_revision_in_the_cache_is_not_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is on this machine only at the revision that the pool names."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--x--y"
    for name, commit in (("main", "a" * 40), ("v2", "b" * 40)):
        (repo / "snapshots" / commit).mkdir(parents=True)
        (repo / "snapshots" / commit / "config.json").write_text("{}")
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / name).write_text(commit)
    assert weights.why_unusable("x/y") is None
    assert weights.why_unusable("x/y", "v2") is None
    assert weights.why_unusable("x/y", "v3") is not None


def test_a_local_model_has_no_revision(tmp_path: Path) -> None:
    """A revision of a folder is refused by name, and not ignored."""
    with pytest.raises(PoolError, match="leave the engine option revision out"):
        weights.locate(str(tmp_path), "v2")
