"""Static encoders and hidden states: what the encoders beyond sentence encoders give."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders import static
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER, MAX_TOKENS, candidates, encode, encode_all

pytestmark = pytest.mark.usefixtures("two_threads")

TEXTS = ["What is the capital of France?", "Hi", "", "Integrate x squared from zero to one.", "a\x00b \ud83d 🦘", "Hi"]
LONG = "The question is long. " * 30


def relative(one: np.ndarray, other: np.ndarray) -> float:
    """Return the greatest difference, as a part of the greatest value."""
    return float(np.abs(one - other).max() / np.abs(one).max())


def test_hidden_states_are_those_of_transformers(tiny_llama: Path) -> None:
    """Each layer is the hidden state that transformers numbers so, pooled over the tokens with the suffix."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    specs = [f"{tiny_llama}@{layer}-{pooling}" for layer in (1, 5, 8) for pooling in ("mean", "last")]
    found = encode_all(["Why?"], specs)
    tokens = AutoTokenizer.from_pretrained(tiny_llama)("Why?\nAnswer:", return_tensors="pt")
    with torch.inference_mode():
        states = AutoModelForCausalLM.from_pretrained(tiny_llama)(**tokens, output_hidden_states=True).hidden_states
    for spec, layer in zip(specs, (1, 1, 5, 5, 8, 8), strict=True):
        expected = states[layer][0].mean(0) if spec.endswith("mean") else states[layer][0, -1]
        assert relative(expected.numpy(), found[spec][0]) < 1e-5


def test_a_truncated_model_gives_the_same_states(tiny_llama: Path) -> None:
    """A layer by itself, without the layers above it, is what it is among others."""
    specs = candidates(str(tiny_llama))
    together = encode_all(TEXTS, specs)
    assert set(together) == set(specs)
    for spec in specs:
        assert together[spec].shape == (len(TEXTS), 32)
        assert together[spec].dtype == np.float32
        assert relative(together[spec], encode(TEXTS, spec)) < 1e-6


def test_a_state_does_not_depend_on_its_batch(tiny_llama: Path) -> None:
    """Alone, among longer texts and in another order, a text has the same states, and equal texts have equal ones."""
    spec = f"{tiny_llama}@8-last"
    together = encode([*TEXTS, LONG], spec)
    alone = np.concatenate([encode([text], spec) for text in [*TEXTS, LONG]])
    assert relative(together, alone) < 1e-5
    assert (together[1] == together[5]).all()
    assert np.abs(together[0] - together[3]).max() > 0.01


def test_the_end_of_a_long_text_is_read(tiny_llama: Path) -> None:
    """A long text is read at its beginning and end, the middle is not, and megabytes take no time."""
    spec = f"{tiny_llama}@8-mean"
    start = time.perf_counter()
    one, other_middle, other_end, other_begin = encode(
        [
            LONG + "x" * 10**7 + LONG + "A) 4",
            LONG + "y" * 10**6 + LONG + "A) 4",
            LONG + LONG + "B) 5",
            "Or: " + LONG + LONG + "A) 4",
        ],
        spec,
    )
    assert time.perf_counter() - start < 5
    assert np.abs(one - other_middle).max() < 1e-5
    assert np.abs(one - other_end).max() > 1e-4
    assert np.abs(one - other_begin).max() > 1e-4


def test_at_most_so_many_tokens_are_read(tiny_llama: Path) -> None:
    """A text is cut to the limit with its beginning mark and the suffix."""
    from transformers import AutoTokenizer

    from leeroo.engine.orchestrator.encoders.hidden import token_ids

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    short, long = token_ids(tokenizer, ["Hi", LONG])
    assert tokenizer.decode(short) == "<s>Hi\nAnswer:"
    assert len(long) == MAX_TOKENS
    assert tokenizer.decode(long).startswith("<s>The question is long.")
    assert tokenizer.decode(long).endswith("The question is long. \nAnswer:")


def test_candidates_cover_the_depth_of_a_model(tiny_llama: Path) -> None:
    """A causal model has layers over its whole depth in both poolings; anything else is its only candidate."""
    named = candidates(str(tiny_llama))
    assert len(named) == len(set(named)) == 14
    assert named[0].startswith(f"{tiny_llama}@1-")
    assert named[-2:] == [f"{tiny_llama}@8-mean", f"{tiny_llama}@8-last"]
    for alone in ("static", f"static:{DEFAULT_ENCODER}", DEFAULT_ENCODER, f"{tiny_llama}@3-last"):
        assert candidates(alone) == [alone]


def test_a_causal_model_needs_a_layer(tiny_llama: Path) -> None:
    """Without a layer, or with one that is not there, one line says how to name one."""
    with pytest.raises(RouterError, match="pin a layer .*@12-mean"):
        encode(["x"], str(tiny_llama))
    with pytest.raises(RouterError, match="has 8 layers, so there is no layer 9"):
        encode(["x"], f"{tiny_llama}@9-mean")
    with pytest.raises(RouterError, match="no layer 0"):
        encode(["x"], f"{tiny_llama}@0-mean")
    with pytest.raises(RouterError, match="no causal language model"):
        encode(["x"], f"{DEFAULT_ENCODER}@3-mean")


def test_a_folder_may_have_an_at_sign(tiny_llama: Path, tmp_path: Path) -> None:
    """Only the end of a name pins a layer, and a folder of that very name is a folder."""
    for name in ("me@home", "model@2-mean", "me@3-last@home"):
        shutil.copytree(tiny_llama, tmp_path / name)
        pinned = encode(TEXTS, f"{tmp_path / name}@5-mean")
        assert relative(pinned, encode(TEXTS, f"{tiny_llama}@5-mean")) < 1e-6
    with pytest.raises(RouterError, match="pin a layer"):
        encode(["x"], str(tmp_path / "model@2-mean"))


def test_no_texts(tiny_llama: Path) -> None:
    """No texts have no vectors, of the right size."""
    assert encode([], f"{tiny_llama}@2-last").shape == (0, 32)
    assert encode([], "static").shape == (0, 256)


def test_a_damaged_model_is_one_line(tiny_llama: Path, tmp_path: Path) -> None:
    """Weights that cannot be read are one line that names the folder."""
    shutil.copytree(tiny_llama, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(RouterError, match="cannot be loaded") as error:
        encode(["x"], f"{tmp_path / 'model'}@2-last")
    assert "\n" not in str(error.value)


def test_static_vectors_carry_the_topic() -> None:
    """Static vectors have length 1, like questions are nearer than unlike ones, and any text has finite ones."""
    capital, seat, integral = vectors = encode(
        ["What is the capital of France?", "Which city is the seat of the French government?", TEXTS[3]], "static"
    )
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert capital @ seat > capital @ integral + 0.2
    assert np.isfinite(encode(TEXTS, "static")).all()


def test_static_vectors_do_not_depend_on_their_batch() -> None:
    """A text alone, among others and in another order has the same static vector."""
    together = encode([*TEXTS, LONG], "static")
    assert np.abs(together - encode([LONG, *TEXTS[::-1]], "static")[::-1]).max() < 1e-6
    assert np.abs(together[0] - encode(TEXTS[:1], "static")[0]).max() < 1e-6


def test_static_encoders_are_distilled_once(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distilled anew from the same encoder it is the same; distilled already, nothing is made."""
    computed, weights = [], []
    for home in ("one", "other", "other"):
        static._load.cache_clear()
        monkeypatch.setenv("LEEROO_CACHE", str(tmp_path / home))
        computed.append(encode(TEXTS, f"static:{tiny_bert}"))
        weights.append(next((tmp_path / home).rglob("model.safetensors")))
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert computed[0].shape == (len(TEXTS), 16)
    assert (computed[0] == computed[1]).all()
    assert (computed[1] == computed[2]).all()
    weights[1].write_bytes(b"nothing")
    static._load.cache_clear()
    with pytest.raises(RouterError, match="remove that folder"):
        encode(TEXTS, f"static:{tiny_bert}")


def test_progress_counts_distinct_texts(tiny_llama: Path) -> None:
    """Progress ends with all distinct texts done, and never goes back."""
    for encoder in ("static", DEFAULT_ENCODER, f"{tiny_llama}@4-mean"):
        progress: list[tuple[int, int]] = []
        encode_all(TEXTS * 50, [encoder], lambda done, total, progress=progress: progress.append((done, total)))  # type: ignore[misc]
        assert progress[-1] == (5, 5)
        assert progress == sorted(progress)
