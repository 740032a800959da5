"""A router in one file: packed, unpacked elsewhere as it was, and refused when it is anything else."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.errors import LeerooError, OutputError, RouterError
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.router_archive import export_router, import_router

QUESTIONS = ["What is 3 plus 4?", "Name the capital of Peru."]


@pytest.fixture(scope="module")
def packed(router: Router, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a packed router that has no card yet."""
    place = tmp_path_factory.mktemp("packed")
    router.save(place / "router")
    export_router(place / "router", place / "router.zip")
    return place / "router.zip"


def test_a_router_comes_back_as_it_was(router: Router, packed: Path, tmp_path: Path) -> None:
    """Predictions are the same to the bit, and a card was written that names its experts."""
    assert import_router(packed, tmp_path / "new").experts == list(router.experts)
    loaded = Router.load(tmp_path / "new")
    assert loaded.fingerprint == router.fingerprint
    np.testing.assert_array_equal(loaded.predict(QUESTIONS).scores, router.predict(QUESTIONS).scores)
    assert "| counter |" in (tmp_path / "new" / "CARD.md").read_text()


def test_the_card_travels_with_its_router(router: Router, packed: Path, tmp_path: Path) -> None:
    """A card that somebody has written is kept by the next export, and goes when a new router takes the place."""
    import_router(packed, tmp_path / "a")
    (tmp_path / "a" / "CARD.md").write_text("mine")
    export_router(tmp_path / "a", tmp_path / "a.zip")
    import_router(tmp_path / "a.zip", tmp_path / "b")
    assert (tmp_path / "b" / "CARD.md").read_text() == "mine"
    router.save(tmp_path / "b")
    assert not (tmp_path / "b" / "CARD.md").exists()


def _with(packed: Path, change: Callable[[zipfile.ZipFile], None]) -> bytes:
    """Return the bytes of a packed router to which something was added."""
    changed = io.BytesIO(packed.read_bytes())
    with zipfile.ZipFile(changed, "a") as parts:
        change(parts)
    return changed.getvalue()


def _twice(parts: zipfile.ZipFile) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        parts.writestr("router.json", "{}")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (lambda packed: _with(packed, lambda z: z.writestr("../../evil.py", "x")), "'../../evil.py', which is no part"),
        (lambda packed: _with(packed, lambda z: z.writestr("adapter/../../x", "x")), "which is no part of a router"),
        (lambda packed: _with(packed, lambda z: z.writestr("/etc/evil", "x")), "which is no part of a router"),
        (lambda packed: _with(packed, lambda z: z.writestr("model.pkl", "x")), "'model.pkl', which is no part"),
        (lambda packed: _with(packed, _twice), "'router.json' twice"),
        (lambda packed: packed.read_bytes()[:-200], "is not a router that leeroo router export wrote"),
        (lambda packed: b"", "is not a router that leeroo router export wrote"),
        (lambda packed: b"PK\x03\x04 but no more", "is not a router that leeroo router export wrote"),
        (lambda packed: _only("CARD.md", b"hello"), "is not a router folder: it has no router.json"),
        (lambda packed: _only("router.json", b"{}"), "is damaged"),
        (lambda packed: _only("numbers.npz", b"no zip"), "is not a router that leeroo router export wrote"),
        (lambda packed: _huge(), "would unpack to more than"),
    ],
)
def test_anything_else_is_refused_in_one_line(
    packed: Path, tmp_path: Path, content: Callable[[Path], bytes], line: str
) -> None:
    """The line names the file, nothing is written, and an older router stays."""
    file, out = tmp_path / "in.zip", tmp_path / "place" / "router"
    import_router(packed, out)
    before = sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*"))
    file.write_bytes(content(packed))
    with pytest.raises(RouterError, match=line) as caught:
        import_router(file, out)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    file.unlink()
    assert sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*")) == before
    Router.load(out)


def _only(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as parts:
        parts.writestr(name, content)
    return packed.getvalue()


def _huge() -> bytes:
    """Return a small file that says it holds 3 GiB."""
    raw = bytearray(_only("CARD.md", b"hello"))
    at = raw.index(b"PK\x01\x02") + 24  # the unpacked size in the central directory
    raw[at : at + 4] = (3 * 1024**3).to_bytes(4, "little")
    return bytes(raw)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The line says which file is missing."""
    with pytest.raises(RouterError, match=r"there is no file .*absent.zip"):
        import_router(tmp_path / "absent.zip", tmp_path / "router")


def test_what_is_no_router_is_neither_packed_nor_replaced(packed: Path, tmp_path: Path) -> None:
    """A folder of other files is not exported, and no import goes over it."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(RouterError, match="is not a router folder"):
        export_router(tmp_path / "thesis", tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    with pytest.raises(OutputError, match="is not a router"):
        import_router(packed, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_damaged_files_are_refused_or_whole(router: Router, packed: Path, tmp_path: Path) -> None:
    """Bits that flip anywhere in the file are an error of ours, or do not change the router."""
    rng, raw = random.Random(0), packed.read_bytes()
    refused = []
    for i in range(60):
        bad = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.zip").write_bytes(bytes(bad))
        try:
            import_router(tmp_path / "bad.zip", tmp_path / f"{i}")
        except LeerooError as error:
            refused.append(str(error))
        else:
            assert Router.load(tmp_path / f"{i}").fingerprint == router.fingerprint
    assert len(refused) > 30
    assert not any("\n" in line for line in refused)
