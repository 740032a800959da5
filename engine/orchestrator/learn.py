"""Learn: a router out of recorded outcomes.

The form is that of the Leeroo orchestrator (Mohammadshahi et al. 2024, arXiv 2401.13979): from the question
alone, predict every expert's success, and leave the rest to the choice. Data folders come in the shape of
RouterBench's (Hu et al. 2024, arXiv 2403.12031).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leeroo.engine.orchestrator.encode import DEFAULT_ENCODER, encode
from leeroo.engine.orchestrator.heads import Float32s, Heads, measure
from leeroo.engine.orchestrator.lengths import learn_latency_lines, learn_lengths, learn_prompt_lines
from leeroo.engine.orchestrator.outcomes import Outcomes, read_outcomes
from leeroo.engine.orchestrator.predict import PROBE, Router
from leeroo.engine.orchestrator.quality import Lessons, Quality, learn_quality
from leeroo.engine.orchestrator.summary import Summary

_FOLDS = 5
# Texts encoded between two progress lines.
_CHUNK = 1024

Ints = npt.NDArray[np.int64]


def train(
    data: Sequence[Path],
    encoder: str = DEFAULT_ENCODER,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> Router:
    """Learn a router from the rows with `split = 'train'` of data folders, taken together.

    Each expert is learned from the questions that it has outcomes for. A question whose prompt is another
    text (with the options of a multiple choice, say) is learned in both forms, as users ask in both.

    Args:
        data: Data folders.
        encoder: Sentence encoder, a hub id or a folder.
        seed: Decides which questions are held out together in the cross-validation.
        on_progress: Is told, in lines for people, what is being done.

    Raises:
        RouterError: the data is not as `read_outcomes` wants it, or the encoder cannot be loaded.
        PoolError: the encoder is nowhere to be found.
    """
    say = on_progress or _silence
    say(f"reading {', '.join(map(str, data))}")
    outcomes = read_outcomes([Path(folder) for folder in data])
    say(f"{len(outcomes.questions)} training questions with outcomes of {len(outcomes.experts)} experts")
    texts = _texts(outcomes)
    vectors = _encode(texts.distinct, encoder, say)
    lessons = _lessons(outcomes, texts, vectors, seed)
    quality = learn_quality(lessons, say)
    say("learning lengths")
    heads = _heads(outcomes, texts, lessons, quality)
    summary = _summary(outcomes, quality, seed)
    say(f"held-out log loss {summary.log_loss:.4f}, calibration error {summary.ece:.4f}")
    return Router(encoder, outcomes.experts, heads, encode([PROBE], encoder)[0], summary)


def _silence(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _Texts:
    """The forms in which questions are learned: for each, whose it is, which text, and its weight; [n]."""

    distinct: list[str]
    question: Ints
    text: Ints
    weight: Float32s


def _texts(outcomes: Outcomes) -> _Texts:
    forms = [list(dict.fromkeys(pair)) for pair in zip(outcomes.questions, outcomes.prompts, strict=True)]
    number = {text: i for i, text in enumerate(dict.fromkeys(text for form in forms for text in form))}
    rows = [(i, number[text], 1 / len(form)) for i, form in enumerate(forms) for text in form]
    question, text, weight = zip(*rows, strict=True)
    return _Texts(list(number), np.array(question), np.array(text), np.array(weight, np.float32))


def _encode(texts: list[str], encoder: str, say: Callable[[str], None]) -> Float32s:
    parts = []
    for start in range(0, len(texts), _CHUNK):
        say(f"encoding: {start} of {len(texts)} texts")
        parts.append(encode(texts[start : start + _CHUNK], encoder))
    return np.concatenate(parts)


def _lessons(outcomes: Outcomes, texts: _Texts, vectors: Float32s, seed: int) -> Lessons:
    scores = outcomes.scores[texts.question]
    known = np.isfinite(scores)
    return Lessons(
        vectors=vectors[texts.text],
        scores=np.where(known, scores, 0).astype(np.float32),
        weights=(known * texts.weight[:, None]).astype(np.float32),
        folds=_folds(outcomes.questions, seed)[texts.question],
    )


def _folds(questions: Sequence[str], seed: int) -> Ints:
    """Folds of like size; the same question is always in the same, whatever stands beside it in its prompts."""
    order = sorted(set(questions), key=lambda q: hashlib.sha256(f"{seed} {q}".encode()).digest())
    fold = {question: i % _FOLDS for i, question in enumerate(order)}
    return np.array([fold[question] for question in questions])


def _heads(outcomes: Outcomes, texts: _Texts, lessons: Lessons, quality: Quality) -> Heads:
    tokens = outcomes.completion_tokens
    lengths = learn_lengths(lessons.vectors, tokens[texts.question], texts.weight, lessons.folds)
    return Heads(
        score_weight=quality.weight,
        score_bias=quality.bias,
        length_weight=lengths.weight,
        length_bias=lengths.bias,
        length_log=lengths.log,
        length_scale=lengths.scale,
        length_low=lengths.low,
        length_high=lengths.high,
        prompt_line=learn_prompt_lines(measure(outcomes.prompts), outcomes.prompt_tokens),
        latency_line=learn_latency_lines(tokens, outcomes.latency_ms),
    )


def _summary(outcomes: Outcomes, quality: Quality, seed: int) -> Summary:
    return Summary(
        questions=len(outcomes.questions),
        outcomes=int(np.isfinite(outcomes.scores).sum()),
        seed=seed,
        log_loss=float(np.mean([s.log_loss for s in quality.summaries])),
        ece=float(np.mean([s.ece for s in quality.summaries])),
        experts=dict(zip(outcomes.experts, quality.summaries, strict=True)),
    )
