"""Forecast: the orchestrator's predictions for every distinct question, as scores, dollars and seconds of the experts.

The arrays are files in the folder of the worktable, so that a table of any length fits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat, tee
from typing import TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.images.limits import limits_of, sees
from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.plan import thinks
from leeroo.engine.batch.price import BYTES_PER_TOKEN, Prices, highest_prices, prices
from leeroo.engine.batch.progress import Meter
from leeroo.engine.batch.prompts import CONTEXT
from leeroo.engine.batch.worktable import AROUND_A_CHOICE, Worktable
from leeroo.engine.effort import EXPECTED_PART
from leeroo.engine.errors import Interrupted
from leeroo.engine.images.marks import without_digits
from leeroo.engine.orchestrator.router import Prediction, Router
from leeroo.engine.orchestrator.similar import most_similar
from leeroo.engine.orchestrator.subjects import Subject
from leeroo.engine.pool import Expert
from leeroo.engine.store.answers import Lengths

# Questions predicted at a time: a run may be stopped between two chunks.
_CHUNK = 2048
# With this many stored answers of an expert, their mean length is expected.
_LENGTHS_KNOWN = 10
# Tokens that a chat template adds to a prompt, at most.
_TEMPLATE_TOKENS = 64
# A recorded answer is held at this multiple of its expected cost.
_RECORDED_AT_MOST = 4


@dataclass(frozen=True)
class Forecast:
    """The predictions for every candidate (axis 1) on every distinct question (axis 0), float32 [n, e].

    Where nothing is known of the candidates' quality (`known` is false), the default expert has the score 1
    and the others 0: it is chosen wherever it may be.
    """

    scores: np.ndarray
    costs: np.ndarray  # USD for asking once
    at_most: np.ndarray  # the most USD that asking once can cost, as far as that can be known beforehand
    seconds: np.ndarray  # of one answer
    known: bool
    waits: np.ndarray  # [e], seconds that a batch of the expert is expected to take; 0 for one that answers at once
    mean_tokens: np.ndarray  # [e], of prompt and completion together
    tokens: np.ndarray | None = None  # [n, e, 2] of prompt and completion, kept where a caller wants to see them


def forecast(
    worktable: Worktable,
    experts: tuple[Expert, ...],
    default: str,
    router: Router | None,
    n: int,
    meter: Meter,
    stop: threading.Event,
    lengths: Sequence[Lengths | None],
    waits: Sequence[float],
    *,
    keep_tokens: bool = False,
) -> Forecast:
    """Predict score, cost and time of `n` distinct questions for every candidate.

    A candidate that the router has not learned is expected to do as the most similar one that it has. Without a
    router, or where it has not learned lengths, answers are expected to be as long as the expert's latest ones
    (`lengths`), where there are some; as much of their prompts as lately comes from a cache. Experts that answer in
    batches are expected to take `waits` seconds.

    Raises:
        Interrupted: `stop` was set.

    """
    known = router if router is not None and set(router.experts) & {e.name for e in experts} else None
    if router is not None and known is None:
        meter.warn(
            f"the router knows none of the experts {', '.join(e.name for e in experts)};"
            f" all rows go to {default!r}, the pool's default"
        )
    columns = [0] * len(experts) if known is None else _columns(experts, known, meter)
    unknown: set[str] = set()  # experts whose answers are of a length that the router has not learned
    names = ("scores", "costs", "at_most", "seconds")
    scores, costs, most, seconds = (worktable.array(name, (n, len(experts))) for name in names)
    kept = worktable.array("tokens", (n, len(experts), 2)) if keep_tokens else None
    usual, highest = prices(experts), highest_prices(experts)
    all_tokens = np.zeros(len(experts))
    done, pictured = 0, False
    for batch, prediction in _predicted(worktable, known, stop):
        part = slice(done, done + batch.num_rows)
        pictured = pictured or batch.column("images").null_count < batch.num_rows
        for i, (expert, column) in enumerate(zip(experts, columns, strict=True)):
            tokens = _tokens(batch, expert, prediction, column, lengths[i])
            costs[part, i] = _expected(tokens, usual.of(i, tokens[:, 0]), lengths[i])
            most[part, i] = _at_most(batch, expert, costs[part, i], i, highest)
            all_tokens[i] += tokens.sum()
            if kept is not None:
                kept[part, i] = tokens
            if prediction is None:
                scores[part, i] = float(expert.name == default)
            else:
                scores[part, i] = prediction.scores[:, column]
                if np.isnan(prediction.completion_tokens[:, column]).any() and not _enough(lengths[i]):
                    unknown.add(expert.name)
            seconds[part, i] = waits[i] or _seconds(tokens[:, 1], expert, prediction, column)
        done = part.stop
        meter.stage("predict")
    if pictured and known is not None and sum(map(sees, experts)) > 1:
        meter.warn("the router sees no images: experts of rows with images are chosen by the text of their questions")
    if unknown:
        who = ", ".join(sorted(unknown))
        meter.warn(f"the router has not learned how long answers of {who} are: max_tokens is expected")
    return Forecast(scores, costs, most, seconds, known is not None, np.array(waits), all_tokens / max(n, 1), kept)


def _predicted(
    worktable: Worktable, router: Router | None, stop: threading.Event
) -> Iterator[tuple[pa.RecordBatch, Prediction | None]]:
    """Yield the questions a batch at a time with their prediction, None without a router. Raises as `forecast`."""
    read = _until(stop, worktable.to_predict(_CHUNK))
    if router is None:
        yield from zip(read, repeat(None))
        return
    batches, ahead = tee(read)
    del read
    with closing(router.predict_each(map(_texts_and_contexts, ahead))) as predictions:
        yield from zip(batches, predictions, strict=True)


def _until(stop: threading.Event, batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if stop.is_set():
            raise Interrupted
        yield batch


def _texts_and_contexts(batch: pa.RecordBatch) -> tuple[list[str], list[Subject]]:
    texts = list(map(without_digits, batch.column("question").to_pylist()))
    return texts, list(zip(*(batch.column(name).to_pylist() for name in CONTEXT), strict=True))


def _columns(experts: tuple[Expert, ...], router: Router, meter: Meter) -> list[int]:
    """Return the column of each candidate, or of a similar one, in the router's predictions."""
    learned = [e for e in experts if e.name in router.experts]
    columns = []
    for e in experts:
        same = next((other for other in learned if _answers_alike(e, other)), None)
        similar = e if e in learned else same or most_similar(e, learned)
        columns.append(router.experts.index(similar.name))
        if similar is not e and same is None:
            meter.warn(
                f"the router has not learned the expert {e.name!r}: it is expected to do as {similar.name!r} does, the "
                "most similar by family, size and tags; add its outcomes with leeroo train --router"
            )
    return columns


def _answers_alike(expert: Expert, other: Expert) -> bool:
    """Return whether one of them answers in batches what the other answers at once, and they differ in nothing else."""
    apart = {"name", "batch", "batch_discount", "engine", "tags", "list_price", "usd_per_m_input", "usd_per_m_output"}
    apart |= {"usd_per_m_cached_input", "usd_per_m_cache_write"}
    alike = expert.model_dump(exclude=apart) == other.model_dump(exclude=apart)
    return expert.batch != other.batch and expert.backend != "replay" and alike


def _tokens(
    batch: pa.RecordBatch, expert: Expert, prediction: Prediction | None, column: int, measured: Lengths | None
) -> np.ndarray:
    """Return expected prompt and completion tokens, float64 [n, 2]."""
    thoughts = _thinking_tokens(batch, expert)
    limit = _limit(batch, expert)
    # An answer that is one of some choices is as long as they are.
    choice = batch.column("choice").fill_null(0).to_numpy(zero_copy_only=False)
    limit = np.where(choice > 0, np.minimum(limit, np.ceil(choice / BYTES_PER_TOKEN)), limit)
    recorded = capabilities(expert).recorded  # prompt and answer are as long as they were
    added = 0.0 if recorded else _added_bytes(batch, expert) / BYTES_PER_TOKEN
    prompt = _bytes(batch) / BYTES_PER_TOKEN
    added = added + _image_tokens(batch, expert)
    # Where nothing is known of how long this expert's answers are, the limit is the cautious guess.
    completion = limit + EXPECTED_PART * thoughts
    limit = limit + thoughts
    if _enough(measured):
        completion = np.fmin(limit, measured.completion_tokens)
    if prediction is not None:
        learned = prediction.completion_tokens[:, column].astype(np.float64)
        completion = np.where(np.isnan(learned), completion, learned if recorded else np.minimum(learned, limit))
        learned = prediction.prompt_tokens[:, column].astype(np.float64)
        prompt = np.where(np.isnan(learned), prompt, learned)
    return np.stack([prompt + added, completion], axis=1, dtype=np.float64)


def _expected(tokens: np.ndarray, usd_per_m: np.ndarray, measured: Lengths | None) -> np.ndarray:
    """Return the expected USD of requests [n]; as much of a prompt as lately is expected to come from a cache."""
    cached = measured.cached_share if _enough(measured) else 0.0
    per_input = usd_per_m[:, 0] * (1 - cached) + usd_per_m[:, 2] * cached
    expected: np.ndarray = (tokens[:, 0] * per_input + tokens[:, 1] * usd_per_m[:, 1]) / 1e6
    return expected


def _enough(measured: Lengths | None) -> TypeGuard[Lengths]:
    """Return whether enough answers of an expert are stored for their mean length."""
    return measured is not None and measured.answers >= _LENGTHS_KNOWN


def _bytes(batch: pa.RecordBatch) -> np.ndarray:
    """Return the bytes of each question [n]."""
    lengths: np.ndarray = pc.binary_length(batch.column("question")).to_numpy(zero_copy_only=False)
    return lengths


def _limit(batch: pa.RecordBatch, expert: Expert) -> np.ndarray:
    """Return the most tokens of each answer [n], as the worktable computes them."""
    limit: np.ndarray = batch.column("max_tokens").fill_null(expert.max_tokens).to_numpy(zero_copy_only=False)
    if thinks(expert):
        return limit
    choice = batch.column("choice").cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(np.fmin(limit, choice + AROUND_A_CHOICE))


def _thinking_tokens(batch: pa.RecordBatch, expert: Expert) -> np.ndarray:
    """Return the most tokens of the thoughts before each answer [n], as the worktable computes them."""
    if capabilities(expert).recorded:  # they are in the answers' lengths
        return np.zeros(batch.num_rows)
    own = batch.column("thinking").cast(pa.float64()).to_numpy(zero_copy_only=False)
    raw = batch.column("raw").to_numpy(zero_copy_only=False)
    return np.where(np.isnan(own), np.where(raw, 0, expert.thinking_tokens), own)


def _added_bytes(batch: pa.RecordBatch, expert: Expert) -> np.ndarray:
    """Count the bytes that are sent in addition to the question [n]."""
    own = batch.column("system").to_numpy(zero_copy_only=False)
    system = np.where(own > 0, own, len((expert.system or "").encode())) + batch.column("form").to_numpy()
    added: np.ndarray = system + len((expert.template or "").encode())
    return added


def _image_tokens(batch: pa.RecordBatch, expert: Expert) -> np.ndarray:
    """Return the tokens of the images of each question [n]; those of recorded answers are in their costs."""
    images = batch.column("images")
    if images.null_count == len(images) or not sees(expert) or capabilities(expert).recorded:
        return np.zeros(len(images))
    count = limits_of(expert).tokens
    rows = (
        [(each["width"], each["height"]) for each in row or () if each["why"] is None] for row in images.to_pylist()
    )
    return np.array([count(sizes) for sizes in rows], np.float64)


def _at_most(batch: pa.RecordBatch, expert: Expert, expected: np.ndarray, at: int, highest: Prices) -> np.ndarray:
    """Return the most USD that one request can cost [n], at the highest prices of the expert at this position."""
    if capabilities(expert).recorded:  # a recorded answer keeps to no limit on new tokens
        most: np.ndarray = _RECORDED_AT_MOST * expected
        return most
    # No tokenizer makes more than a token of a byte; the chat template adds its own. A schema may be read twice.
    prompt = _bytes(batch) + _added_bytes(batch, expert) + batch.column("schema").to_numpy() + _TEMPLATE_TOKENS
    prompt = prompt + _image_tokens(batch, expert)
    usd_per_m = highest.of(at, prompt)
    completion = _limit(batch, expert) + _thinking_tokens(batch, expert)
    # All of the prompt may be written to a cache.
    most = prompt * usd_per_m[:, [0, 2, 3]].max(axis=1) + completion * usd_per_m[:, 1]
    return np.asarray(np.maximum(most / 1e6, expected))


def _seconds(completion_tokens: np.ndarray, expert: Expert, prediction: Prediction | None, column: int) -> np.ndarray:
    """Return expected seconds of one answer [n], 0 where nothing is known."""
    if prediction is not None:
        learned = prediction.latency_ms[:, column] / 1e3
        if not np.isnan(learned).any():
            return np.asarray(learned)
    speed = expert.engine.get("tokens_per_second")
    return completion_tokens / float(speed) if speed else np.zeros(len(completion_tokens))
