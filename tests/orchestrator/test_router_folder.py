"""A router on disk: saved whole, loaded as it was, and refused when it is anything else."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from leeroo.cli.main import app
from leeroo.engine.errors import OutputError, PoolError, RouterError
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.router_folder import fingerprint, load, save

QUESTIONS = ["What is 4 plus 9?", "Name a poet from Peru."]


@pytest.fixture
def saved(router: Router, tmp_path: Path) -> Path:
    """Return a router folder."""
    router.save(tmp_path / "router")
    return tmp_path / "router"


def refusal(path: Path) -> str:
    """Return the message of the error that loading raises."""
    with pytest.raises(RouterError) as error:
        Router.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


def change_card(folder: Path, **changes: object) -> None:
    """Rewrite entries of a router's card."""
    card = json.loads((folder / "router.json").read_text())
    (folder / "router.json").write_text(json.dumps({**card, **changes}))


def test_a_loaded_router_predicts_the_same(router: Router, saved: Path) -> None:
    """Saving and loading changes nothing: experts, fingerprint, summary and every prediction."""
    loaded = Router.load(saved)
    assert (loaded.experts, loaded.fingerprint, loaded.summary) == (router.experts, router.fingerprint, router.summary)
    before, after = router.predict(QUESTIONS), loaded.predict(QUESTIONS)
    for field in fields(before):
        assert np.array_equal(getattr(before, field.name), getattr(after, field.name), equal_nan=True)


def test_a_router_of_half_the_size_predicts_nearly_the_same(router: Router, saved: Path, tmp_path: Path) -> None:
    """Landmarks are stored as float16 and come back as float32; scores move by less than a thousandth."""
    router.save(tmp_path / "half", half=True)
    with np.load(tmp_path / "half" / "numbers.npz") as stored:
        assert stored["landmarks"].dtype == np.float16
    size = (saved / "numbers.npz").stat().st_size
    assert (tmp_path / "half" / "numbers.npz").stat().st_size < 0.6 * size
    loaded = Router.load(tmp_path / "half")
    assert loaded.features.landmarks.dtype == np.float32
    assert 0 < np.abs(loaded.features.landmarks - router.features.landmarks).max() < 1e-3
    np.testing.assert_allclose(loaded.predict(QUESTIONS).scores, router.predict(QUESTIONS).scores, atol=1e-3)
    loaded.save(tmp_path / "again")
    assert Router.load(tmp_path / "again").fingerprint == loaded.fingerprint


def test_a_router_saved_with_a_cascade_still_loads(router: Router, saved: Path, tmp_path: Path) -> None:
    """Older versions stored six more arrays; they are left out, and the router predicts the same."""
    n, e = 5, len(router.experts)
    more = {
        name: np.zeros((n, e), np.float32) for name in ("log_odds", "tokens", "scores", "prompt_tokens", "answers")
    } | {"completion_tokens": np.full((n, e), np.nan, np.float32)}
    card, numbers = load(saved)
    names = {name: getattr(card, name) for name in ("encoders", "experts", "subjects", "categories", "adapter")}
    old = tmp_path / "old"
    save(old, names, numbers | {f"precedents_{name}": array for name, array in more.items()}, card.training, None)
    loaded = Router.load(old)
    assert loaded.fingerprint == router.fingerprint
    assert np.array_equal(loaded.predict(QUESTIONS).scores, router.predict(QUESTIONS).scores)


def test_the_card_says_what_the_router_is(saved: Path) -> None:
    """People can read its format, its encoders, its experts, how good it is and what made it."""
    card = json.loads((saved / "router.json").read_text())
    assert card["format"] == 2
    assert card["encoders"] == ["sentence-transformers/all-MiniLM-L6-v2"]
    assert card["experts"] == ["counter", "oracle", "reader"]
    assert card["training"]["questions"] == 160
    assert 0 < card["training"]["log_loss"] < 0.5
    assert card["libraries"]["numpy"] == np.__version__


def test_the_fingerprint_depends_on_all_predictions_depend_on(router: Router) -> None:
    """A router with another number in a head, another encoder or other experts has another fingerprint."""
    heads = replace(router.heads, score_bias=router.heads.score_bias + 1e-6)
    others = [replace(router, heads=heads), replace(router, encoders=("x",)), replace(router, experts=("a", "b", "c"))]
    assert len({router.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_a_router_is_replaced_whole(router: Router, saved: Path) -> None:
    """Saving over a router leaves the new one there, and nothing else."""
    replace(router, experts=("a", "b", "c")).save(saved)
    assert Router.load(saved).experts == ("a", "b", "c")
    assert [path.name for path in saved.parent.iterdir()] == ["router"]


def test_other_peoples_folders_are_left_alone(router: Router, tmp_path: Path) -> None:
    """A folder with something else in it is not overwritten; an empty one, or none, is used."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("...")
    with pytest.raises(OutputError, match="is not a router"):
        router.save(tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]
    (tmp_path / "empty").mkdir()
    router.save(tmp_path / "empty")
    router.save(tmp_path / "not" / "yet" / "there")
    assert Router.load(tmp_path / "not" / "yet" / "there").experts == Router.load(tmp_path / "empty").experts


def test_a_place_that_cannot_be_written_is_named(router: Router) -> None:
    """A place that cannot be written to is one clear line."""
    with pytest.raises(OutputError, match="the router cannot be written to /proc/router"):
        router.save("/proc/router")


def test_absent_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    """No folder at all, and a folder of something else, have messages of their own."""
    assert "there is no router at" in refusal(tmp_path / "nowhere")
    assert "has no router.json" in refusal(tmp_path)
    (tmp_path / "file").write_text("hello")
    assert "is not a router folder" in refusal(tmp_path / "file")


def test_other_versions_are_refused(saved: Path) -> None:
    """A router of a newer or older format is not guessed at."""
    change_card(saved, format=3)
    assert "newer leeroo" in refusal(saved)
    change_card(saved, format=1)
    assert "train it again" in refusal(saved)


def test_any_damage_is_noticed(router: Router, saved: Path) -> None:
    """A router with a missing, cut or garbled file is called damaged, and is never loaded as another."""
    whole = {name: (saved / name).read_bytes() for name in ("router.json", "numbers.npz")}
    rng = np.random.default_rng(0)
    for name, content in whole.items():
        garbled = bytearray(content)
        garbled[len(content) // 2] ^= 0xFF
        for spoilt in (b"", content[: len(content) // 2], b"hello" * 100, bytes(garbled)):
            (saved / name).write_bytes(spoilt)
            assert "is damaged" in refusal(saved)
        (saved / name).write_bytes(content)
    for at in rng.integers(0, len(whole["numbers.npz"]), 300):
        garbled = bytearray(whole["numbers.npz"])
        garbled[at] ^= 1 << int(rng.integers(8))
        (saved / "numbers.npz").write_bytes(garbled)
        with suppress(RouterError):  # some bytes of an archive mean nothing
            assert Router.load(saved).fingerprint == router.fingerprint
    (saved / "numbers.npz").unlink()
    assert "is damaged" in refusal(saved)


def test_numbers_of_another_router_are_refused(router: Router, saved: Path, tmp_path: Path) -> None:
    """Two halves of two routers do not make one."""
    other = replace(router, heads=replace(router.heads, score_bias=router.heads.score_bias + 1))
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "numbers.npz", saved / "numbers.npz")
    assert "do not belong together" in refusal(saved)
    change_card(saved, experts=["a"])
    assert "is damaged" in refusal(saved)


def test_nothing_in_a_router_is_executed(saved: Path, tmp_path: Path) -> None:
    """Numbers that would have to be unpickled are refused, not run."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    with np.load(saved / "numbers.npz") as arrays:
        np.savez(saved / "numbers.npz", **{**arrays, "probe": np.array([Trap()], object)})
    assert "is damaged" in refusal(saved)
    assert not (tmp_path / "sprung").exists()


def test_another_encoder_under_the_same_name_is_noticed(router: Router) -> None:
    """When the encoder is no longer the one it was trained with, predictions are refused rather than wrong."""
    turned = replace(router, probe=router.probe[::-1].copy())
    with pytest.raises(RouterError, match="is not the one this router was trained with"):
        turned.predict(QUESTIONS)


def forge(folder: Path, numbers: dict[str, np.ndarray], **names: object) -> None:
    """Write other numbers and names into a router folder, with right hashes."""
    card = json.loads((folder / "router.json").read_text()) | names
    np.savez(folder / "numbers.npz", **numbers)  # type: ignore[arg-type]
    hashed = hashlib.sha256((folder / "numbers.npz").read_bytes()).hexdigest()
    named = {name: card[name] for name in ("encoders", "experts", "subjects", "categories", "adapter")}
    (folder / "router.json").write_text(
        json.dumps({**card, "numbers_sha256": hashed, "fingerprint": fingerprint(named, numbers)})
    )


def test_arrays_of_wrong_shape_or_type_are_refused(saved: Path) -> None:
    """An array that does not fit the others is refused by its name, even with right hashes."""
    with np.load(saved / "numbers.npz") as stored:
        numbers = {name: stored[name] for name in stored.files}
    for name, array in numbers.items():
        for other in (array[..., :-1], array[None], array.astype(str)):
            if other.shape == array.shape and other.dtype == array.dtype:
                continue  # an axis of length 0
            forge(saved, {**numbers, name: other})
            assert "does not fit" in refusal(saved) or "do not fit" in refusal(saved), name
    forge(saved, {**numbers, "score_bias": numbers["score_bias"] * np.nan})
    assert "score_bias in numbers.npz has values that are no numbers" in refusal(saved)
    card = (saved / "router.json").read_text()
    for name, value in (("experts", ["a"]), ("experts", ["a", "a", "b"]), ("subjects", ["x", "y"]), ("encoders", [])):
        forge(saved, numbers, **{name: value})
        assert "is damaged" in refusal(saved)
        (saved / "router.json").write_text(card)
    forge(saved, numbers)
    assert Router.load(saved).predict(QUESTIONS).scores.shape == (2, 3)


def test_training_is_refused_before_it_starts_where_its_folder_is_taken(topics_folder: Path, tmp_path: Path) -> None:
    """A folder with other files in it is left as it is, before any training."""
    (tmp_path / "precious.txt").write_text("mine")
    result = CliRunner().invoke(app, ["train", "--data", str(topics_folder), "--out", str(tmp_path)])
    assert result.exit_code != 0
    assert "is not a router" in f"{result.output}{result.exception}"
    assert "reading" not in result.output
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_an_encoder_is_not_fetched_from_wherever_a_router_says(router: Router, tmp_path: Path) -> None:
    """A router may name what is on this machine; anything else is fetched by those who trust it."""
    for number, name in enumerate(["evil/encoder", "evil/model@3-mean", "static:evil/encoder", "../evil/"]):
        replace(router, encoders=(name,)).save(tmp_path / f"{number}")
        with pytest.raises(PoolError, match=r"hf download .*evil/"):
            Router.load(tmp_path / f"{number}")


def test_code_in_an_encoders_folder_is_not_run(router: Router, tmp_path: Path) -> None:
    """A modules.json that names a class of its own is refused, and the class's file is not imported."""
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    module = {"idx": 0, "name": "0", "path": "", "type": "trap.Trap"}
    (encoder / "modules.json").write_text(json.dumps([module]))
    (encoder / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Trap: pass\n")
    replace(router, encoders=(str(encoder),)).save(tmp_path / "router")
    with pytest.raises(RouterError, match="cannot be loaded") as raised:
        Router.load(tmp_path / "router").predict(QUESTIONS)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "sprung").exists()
