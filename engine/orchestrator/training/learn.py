"""Learn a router from recorded outcomes.

The form is that of the Leeroo orchestrator (Mohammadshahi et al. 2024, arXiv 2401.13979). It predicts every expert's
success from the question alone, and leaves the rest to the choice. Data folders come in the shape of RouterBench's (Hu
et al. 2024, arXiv 2403.12031).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s
from leeroo.engine.errors import RouterError
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER, candidates, encode, encode_all
from leeroo.engine.orchestrator.features import Features, fit_features
from leeroo.engine.orchestrator.heads import Heads, measure
from leeroo.engine.orchestrator.outcomes.read import LEAST_QUESTIONS, Outcomes, read_outcomes, read_prices
from leeroo.engine.orchestrator.outcomes.recorded import with_tokens
from leeroo.engine.orchestrator.router import PROBE, Router, Seen
from leeroo.engine.orchestrator.subjects import KnownSubjects, known_subjects
from leeroo.engine.orchestrator.summary import Summary
from leeroo.engine.orchestrator.text_features import text_features
from leeroo.engine.orchestrator.training.lengths import learn_latency_lines, learn_lengths, learn_prompt_lines
from leeroo.engine.orchestrator.training.quality import Quality, learn_quality
from leeroo.engine.orchestrator.training.stacking import stack

# One in this many questions whose bare form differs from their prompt is also learned in that form.
_BARE = 4
# The number of texts on which the layers of a causal model are compared.
_COMPARED = 1500
_REPORT_EVERY_S = 5.0


def train(
    data: Sequence[Path],
    encoders: Sequence[str] = (DEFAULT_ENCODER,),
    finetune: Literal["none", "lora"] = "none",
    seed: int = 0,
    on_progress: LineListener | None = None,
) -> Router:
    """Learn a router from the rows with `split = 'train'` of data folders, taken together.

    Each expert is learned from the questions that it has outcomes for, with the others' help. Questions are learned as
    their prompts. Where the bare question is another text, such as one without its options, some are also learned in
    that form, because users send both.

    Args:
        data: Data folders.
        encoders: Names that `encode` describes; for a causal model without a layer, validation chooses one.
        finetune: With 'lora' the first causal model among the encoders also learns from the outcomes, see `finetune`.
        seed: Random seed.
        on_progress: Called with progress, in lines for people.

    Raises:
        RouterError: the data is not as `read_outcomes` wants it, or an encoder cannot be loaded.
        PoolError: an encoder is nowhere to be found.
    """
    say = on_progress or (lambda _: None)
    tunable = [encoder for encoder in encoders if finetune == "lora" and len(candidates(encoder)) > 1]
    if finetune == "lora" and not tunable:
        raise RouterError(
            f"none of the encoders {', '.join(encoders)} can be fine-tuned: name a causal language model, without a "
            "layer"
        )
    say(f"reading {', '.join(map(str, data))}")
    outcomes = _read(data, say)
    say(f"{len(outcomes.questions):,} training questions with outcomes of {len(outcomes.experts)} experts")
    lessons = _training_texts(outcomes, seed)
    pinned = _choose_layers(encoders, lessons, seed, say)
    blocks = _blocks(lessons.texts, pinned, say)
    contexts = known_subjects(outcomes.contexts)
    features = fit_features(blocks, contexts.numbers(lessons.contexts), seed)
    say(f"learning {len(outcomes.experts)} experts from {len(lessons.texts):,} texts")
    seen = Seen(np.concatenate(blocks, axis=1), np.zeros((len(lessons.texts), 0), np.float32))
    quality, in_context, heads = _learn(features, seen, contexts, outcomes, lessons, None, say)
    summary = _summary(outcomes, quality, seed)
    _report_unlearned(summary, say)
    say(f"held-out log loss {summary.log_loss:.4f}, calibration error {summary.ece:.4f}")
    probe = np.concatenate([encode([PROBE], encoder)[0] for encoder in pinned])
    router = Router(pinned, None, outcomes.experts, contexts, features, heads, probe, summary)
    if not tunable:
        return router
    held_out = (quality.held_out, in_context.held_out)
    return stack(router, tunable[0], lessons.texts, lessons.scores, lessons.groups, held_out, seed, say)


def extend(router: Router, data: Sequence[Path], seed: int = 0, on_progress: LineListener | None = None) -> Router:
    """Add the experts of data folders that a router does not know; its predictions for the others stay the same.

    The router's predictions for the known experts on a question say most about a new one. So a few hundred outcomes are
    enough, on questions that it has seen before or not. The rest is as in `train`.

    Raises:
        RouterError: the data is not as `read_outcomes` wants it, has no expert that is new, or has fewer than ten
            questions with outcomes of new ones; or an encoder is not the one that the router was trained with.
        PoolError: an encoder is nowhere to be found.
    """
    say = on_progress or (lambda _: None)
    folders = ", ".join(map(str, data))
    say(f"reading {folders}")
    found = _read(data, say)
    new = [name for name in found.experts if name not in router.experts]
    if not new:
        raise RouterError(f"the router already knows all experts of {folders}: {', '.join(found.experts)}")
    outcomes = found.only(new)
    if len(outcomes.prompts) < LEAST_QUESTIONS:
        raise RouterError(
            f"{folders}: {len(outcomes.prompts)} training questions with outcomes of {', '.join(new)}; at least "
            f"{LEAST_QUESTIONS} are needed"
        )
    say(f"learning {', '.join(new)} from {len(outcomes.prompts):,} questions")
    lessons = _training_texts(outcomes, seed)
    seen = router.see(lessons.texts)
    quality, _, heads = _learn(router.features, seen, router.contexts, outcomes, lessons, router.heads, say)
    known, added = router.summary, _summary(outcomes, quality, seed)
    _report_unlearned(added, say)
    say(f"held-out log loss {added.log_loss:.4f}, calibration error {added.ece:.4f}")
    summary = Summary.of({**known.experts, **added.experts}, max(known.questions, added.questions), known.seed)
    experts = (*router.experts, *new)
    return replace(router, experts=experts, heads=router.heads.with_experts(heads), summary=summary)


def _read(data: Sequence[Path], say: LineListener) -> Outcomes:
    """Read the training rows, with completion tokens where they are recorded or follow from costs."""
    folders = [Path(folder) for folder in data]
    bare = read_outcomes(folders)
    outcomes = with_tokens(bare, read_prices(folders, bare.experts))
    unrecorded, unknown = (np.isnan(each.completion_tokens).all(axis=0) for each in (bare, outcomes))
    derived = [bare.experts[i] for i in np.flatnonzero(unrecorded & ~unknown)]
    if derived:
        say(f"no completion tokens are recorded of {', '.join(derived)}: they follow from costs and prices")
    if unknown.all():
        say("nothing tells how long answers are: each expert's max_tokens is expected of all")
    return outcomes


@dataclass(frozen=True)
class TrainingTexts:
    """The texts to learn from, [n].

    Attributes:
        texts: Prompts, and some bare questions.
        question: Which row of the outcomes each is a form of.
        groups: Number of the bare question; what is held out together.
        scores: [n, e].
        contexts: (subject, category) of each.
    """

    texts: list[str]
    question: Int64s
    groups: Int64s
    scores: Float32s
    contexts: list[tuple[str | None, str | None]]


def _training_texts(outcomes: Outcomes, seed: int) -> TrainingTexts:
    n = len(outcomes.prompts)
    differ = [row for row in range(n) if outcomes.questions[row] != outcomes.prompts[row]]
    bare = np.random.default_rng(seed).permutation(differ)[: len(differ) // _BARE].astype(np.int64)
    question = np.concatenate([np.arange(n), np.sort(bare)])
    number: dict[str, int] = {}
    groups = np.array([number.setdefault(text, len(number)) for text in outcomes.questions])
    contexts = outcomes.contexts
    return TrainingTexts(
        texts=outcomes.prompts + [outcomes.questions[row] for row in question[n:]],
        question=question,
        groups=groups[question],
        scores=outcomes.scores[question],
        contexts=[contexts[row] for row in question],
    )


def _choose_layers(encoders: Sequence[str], lessons: TrainingTexts, seed: int, say: LineListener) -> tuple[str, ...]:
    """Return the encoders, with the layer that predicts best on some of the questions where there are several.

    Each question is held out in turn; the questions with outcomes of most experts are used.
    """
    pinned = []
    for encoder in encoders:
        points = candidates(encoder)
        if len(points) > 1:
            order = np.random.default_rng(seed).permutation(len(lessons.texts))
            known = np.isfinite(lessons.scores[order]).sum(axis=1)
            some = np.sort(order[np.argsort(-known, kind="stable")[:_COMPARED]])
            say(f"choosing one of {len(points)} layers and poolings of {encoder} on {len(some):,} texts")
            vectors = encode_all([lessons.texts[i] for i in some], points, _encoding_reporter(say))
            losses = {point: _loss(vectors[point], lessons, some, seed) for point in points}
            points = [min(points, key=losses.__getitem__)]
            say(f"{points[0]}: held-out log loss {losses[points[0]]:.4f}")
        pinned += points
    return tuple(pinned)


def _loss(vectors: Float32s, lessons: TrainingTexts, some: Int64s, seed: int) -> float:
    nothing = np.zeros((len(some), 0), np.int64)
    features = fit_features([vectors], nothing, seed)
    turned = features.likeness(vectors) @ features.whitening()
    return learn_quality(turned, lessons.scores[some], lessons.groups[some]).log_loss


def _blocks(texts: list[str], encoders: Sequence[str], say: LineListener) -> list[Float32s]:
    vectors = encode_all(texts, encoders, _encoding_reporter(say))
    return [*(vectors[encoder] for encoder in encoders), text_features(texts)]


def _encoding_reporter(say: LineListener) -> Callable[[int, int], None]:
    """Make a callback that reports how far an encoder is, and how long it will take."""
    begun, reported = time.monotonic(), -_REPORT_EVERY_S

    def report(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= _REPORT_EVERY_S or done == total:
            reported = now
            speed = done / max(now - begun, 1e-3)
            say(f"encoding: {done:,} of {total:,} texts, {speed:,.0f} a second, {(total - done) / speed:,.0f} s left")

    return report


def _learn(
    features: Features,
    seen: Seen,
    contexts: KnownSubjects,
    outcomes: Outcomes,
    lessons: TrainingTexts,
    before: Heads | None,
    say: LineListener,
) -> tuple[Quality, Quality, Heads]:
    """Learn heads of the outcomes' experts, with the help of those of other experts that were learned before.

    Also return the quality without contexts and with them; twice the same where there are none.
    """
    counted = len(outcomes.prompts)
    likeness, whitening = features.likeness(seen.blocks), features.whitening()
    turned = likeness @ whitening
    base = before.log_odds(np.concatenate([likeness, seen.tuned], axis=1)) if before else None
    quality = in_context = learn_quality(turned, lessons.scores, lessons.groups, base, counted)
    say("learning lengths")
    lengths = learn_lengths(turned, outcomes.completion_tokens[lessons.question], lessons.groups)
    lengths = replace(lengths, weight=whitening @ lengths.weight)
    score_weight, score_bias = _onto(quality, whitening, (before.score_weight, before.score_bias) if before else None)
    context_weight, context_bias = np.zeros((0, len(outcomes.experts)), np.float32), np.zeros_like(score_bias)
    if contexts:
        say(f"learning in the context of {contexts}")
        likeness = features.likeness(seen.blocks, contexts.numbers(lessons.contexts))
        whitening_in_context = features.whitening(in_context=True)
        base = before.log_odds_in_context(np.concatenate([likeness, seen.tuned], axis=1)) if before else None
        in_context = learn_quality(likeness @ whitening_in_context, lessons.scores, lessons.groups, base, counted)
        of_before = (before.context_weight, before.context_bias) if before else None
        context_weight, context_bias = _onto(in_context, whitening_in_context, of_before)
    return (
        quality,
        in_context,
        Heads(
            score_weight=score_weight,
            score_bias=score_bias,
            context_weight=context_weight,
            context_bias=context_bias,
            **{f"length_{name}": numbers for name, numbers in vars(lengths).items()},
            prompt_line=learn_prompt_lines(measure(outcomes.prompts), outcomes.prompt_tokens),
            latency_line=learn_latency_lines(outcomes.completion_tokens, outcomes.latency_ms),
        ),
    )


def _onto(quality: Quality, whitening: Float32s, before: tuple[Float32s, Float32s] | None) -> tuple[Float32s, Float32s]:
    """Return weight and bias on likeness, including what is transferred from the heads before."""
    weight, bias = whitening @ quality.weight, quality.bias
    if before:  # these may be on the states of a fine-tuned model too
        wide = np.pad(weight, ((0, len(before[0]) - len(weight)), (0, 0)))
        weight, bias = wide + before[0] @ quality.transfer, bias + before[1] @ quality.transfer
    return np.asarray(weight, np.float32), np.asarray(bias, np.float32)


def _report_unlearned(summary: Summary, say: LineListener) -> None:
    for name, expert in summary.experts.items():
        if not expert.learned:
            say(
                f"{name}: {expert.outcomes:,} outcomes do not show which questions it can answer; its mean score of "
                f"{expert.mean_score:.2f} is expected of all"
            )


def _summary(outcomes: Outcomes, quality: Quality, seed: int) -> Summary:
    return Summary.of(
        dict(zip(outcomes.experts, quality.summaries, strict=True)), questions=len(outcomes.questions), seed=seed
    )
