"""Vectors on disk: a text is encoded once, whatever happens to the process or the file."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders import hidden, vectors
from leeroo.engine.orchestrator.encoders.encode import encode, encode_all

pytestmark = pytest.mark.usefixtures("two_threads")

TEXTS = [f"Question number {i}, and what about it?" for i in range(60)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of its own."""
    monkeypatch.setenv("LEEROO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LEEROO_VECTORS_GIB", "4")
    return tmp_path / "cache"


def counted(texts: list[str], *specs: str) -> tuple[dict[str, np.ndarray], int]:
    """Return the vectors, and how many texts had to be encoded for them."""
    progress = [(0, 0)]
    return encode_all(texts, specs, lambda done, total: progress.append((done, total))), progress[-1][0]


def test_a_text_is_encoded_once(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors on disk are not computed again, nor is the model loaded for them."""
    specs = [f"{tiny_llama}@3-mean", f"{tiny_llama}@7-last"]
    first, computed = counted(TEXTS[:40], *specs)
    assert computed == 40
    both, computed = counted(TEXTS, *specs)
    assert computed == 20
    monkeypatch.setattr(hidden, "_truncated", None)
    again, computed = counted(TEXTS[::-1], *specs)
    assert computed == 0
    for spec in specs:
        assert (both[spec][:40] == first[spec]).all()
        assert (again[spec][::-1] == both[spec]).all()


def test_only_missing_vectors_are_computed(tiny_llama: Path) -> None:
    """Another layer of the same texts is made without the layer that is there, and both are right."""
    low, high = f"{tiny_llama}@2-mean", f"{tiny_llama}@8-mean"
    alone, _ = counted(TEXTS, high)
    both, computed = counted(TEXTS, high, low)
    assert computed == len(TEXTS)
    assert (both[high] == alone[high]).all()
    assert np.abs(both[low] - both[high]).max() > 0.01


def test_static_vectors_are_not_kept(tiny_bert: Path, home: Path) -> None:
    """A static encoder is faster than the disk."""
    assert counted(TEXTS, f"static:{tiny_bert}")[1] == len(TEXTS)
    assert not (home / "vectors.sqlite").exists()


def test_another_model_under_the_same_name_has_its_own(tiny_llama: Path, tmp_path: Path) -> None:
    """Vectors of a model whose files have changed are not used, and the changed model is the one that runs."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    before, _ = counted(TEXTS, f"{folder}@3-mean")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(30)
    model.save_pretrained(folder)
    after, computed = counted(TEXTS, f"{folder}@3-mean")
    assert computed == len(TEXTS)
    assert np.abs(before[f"{folder}@3-mean"] - after[f"{folder}@3-mean"]).max() > 1e-3


def test_a_killed_process_loses_only_seconds(tiny_llama: Path, home: Path) -> None:
    """After kill -9 in the middle, all parts but the last one are there."""
    script = f"""
import os, signal
from leeroo.engine.orchestrator.encoders import encode
encode._PART, encode._PART_S = 5, 0
texts = [f"Question number {{i}}, and what about it?" for i in range(60)]
encode.encode_all(
    texts, ["{tiny_llama}@8-mean"], lambda done, total: done >= 36 and os.kill(os.getpid(), signal.SIGKILL)
)
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    computed = counted(TEXTS, f"{tiny_llama}@8-mean")[1]
    assert 0 < computed <= 30


def test_a_damaged_file_is_no_error(tiny_llama: Path, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Garbage in its place is said once, in one line that names the file, and texts are encoded all the same."""
    home.mkdir()
    (home / "vectors.sqlite").write_bytes(b"this is no database" * 1000)
    first = encode(TEXTS, f"{tiny_llama}@3-mean")
    assert np.isfinite(first).all()
    assert (first == encode(TEXTS, f"{tiny_llama}@3-mean")).all()
    assert len(caplog.messages) == 1
    assert str(home / "vectors.sqlite") in caplog.messages[0]
    assert "\n" not in caplog.messages[0]


def test_a_place_that_cannot_be_written_is_no_error(
    tiny_llama: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache folder that cannot be made is said once."""
    home.write_text("a file is in the way")
    assert np.isfinite(encode(TEXTS[:3], f"{tiny_llama}@3-mean")).all()
    assert np.isfinite(encode(TEXTS, f"{tiny_llama}@3-mean")).all()
    assert len(caplog.messages) == 1


def test_a_damaged_vector_is_computed_again(tiny_llama: Path, home: Path) -> None:
    """A vector with a wrong byte, or cut short, is not used but replaced."""
    spec = f"{tiny_llama}@3-mean"
    right, _ = counted(TEXTS, spec)
    with sqlite3.connect(home / "vectors.sqlite") as db:
        db.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE rowid = 5")
        db.execute("UPDATE vectors SET vector = substr(vector, 1, 7) WHERE rowid = 1")
    db.close()
    mended, computed = counted(TEXTS, spec)
    assert computed == 2
    assert np.abs(mended[spec] - right[spec]).max() < 1e-5
    assert counted(TEXTS, spec)[1] == 0


def test_the_oldest_are_dropped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays below its limit; the newest vectors are there, the oldest are not."""
    monkeypatch.setenv("LEEROO_VECTORS_GIB", str(1 / 1024))
    vector = np.ones(256, np.float32)
    keys = [i.to_bytes(32, "big") for i in range(4000)]
    for start in range(0, len(keys), 100):
        vectors.store([(key, vector) for key in keys[start : start + 100]])
    found, _ = vectors.read(keys)
    assert len(keys) / 8 < len(found) < len(keys) / 3
    assert (found == np.arange(len(keys) - len(found), len(keys))).all()
    assert (home / "vectors.sqlite").stat().st_size < 2 * 2**20


def test_no_vectors_are_kept_when_none_are_wanted(
    tiny_llama: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of 0 there is no file; a limit that is no number is one line."""
    monkeypatch.setenv("LEEROO_VECTORS_GIB", "0")
    encode(TEXTS[:2], f"{tiny_llama}@3-mean")
    assert not home.exists()
    monkeypatch.setenv("LEEROO_VECTORS_GIB", "much")
    with pytest.raises(RouterError, match="LEEROO_VECTORS_GIB"):
        encode(TEXTS[:2], f"{tiny_llama}@3-mean")


def test_processes_may_write_at_once(home: Path) -> None:
    """Four processes that add vectors to a file that is not there yet lose none of them."""
    script = """
import sys, numpy as np
from leeroo.engine.orchestrator.encoders import vectors
for i in range(50):
    vectors.store([(f"{sys.argv[1]} {i} {j}".encode(), np.full(64, i, np.float32)) for j in range(10)])
"""
    running = [subprocess.Popen([sys.executable, "-c", script, str(i)], stderr=subprocess.PIPE) for i in range(4)]
    for process in running:
        assert process.communicate(timeout=120)[1] == b""
    found, _ = vectors.read([f"{p} {i} {j}".encode() for p in range(4) for i in range(50) for j in range(10)])
    assert len(found) == 2000


def test_a_file_of_the_version_before_is_used(home: Path) -> None:
    """Vectors in a file without claims are found, and the version before finds and adds some beside us."""
    home.mkdir()
    with sqlite3.connect(home / "vectors.sqlite") as before:
        before.execute("CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL, crc INTEGER NOT NULL)")
        vector = np.ones(4, np.float32).tobytes()
        before.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", (b"a" * 32, vector, zlib.crc32(vector)))
        before.commit()
        assert vectors.Claims().claim([b"b" * 32]) is None
        vectors.store([(b"b" * 32, np.zeros(4, np.float32))])
        before.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", (b"c" * 32, vector, zlib.crc32(vector)))
        before.commit()
        assert before.execute("SELECT count(*) FROM vectors").fetchone() == (3,)
    found, of_found = vectors.read([b"c" * 32, b"b" * 32, b"a" * 32])
    assert of_found is not None
    assert dict(zip(found.tolist(), of_found[:, 0].tolist(), strict=True)) == {0: 1.0, 1: 0.0, 2: 1.0}


def test_many_vectors_are_read_in_one_call() -> None:
    """Thousands of keys are all found, each with its own vector, and those that are absent are not."""
    keys = [hashlib.sha256(str(i).encode()).digest() for i in range(10_000)]
    vectors.store((key, np.full(8, i, np.float32)) for i, key in enumerate(keys) if i % 3)
    found, of_found = vectors.read(keys)
    assert of_found is not None
    assert sorted(found.tolist()) == [i for i in range(10_000) if i % 3]
    assert (of_found == found[:, None]).all()
