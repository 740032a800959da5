"""The router: predicts the outcome of every expert on a question, before any of them gets it.

Knows nothing of how it was trained, nor of budgets.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s
from leeroo.engine.errors import Interrupted, RouterError
from leeroo.engine.orchestrator import router_folder as folder
from leeroo.engine.orchestrator.adapter import Adapter
from leeroo.engine.orchestrator.blas import one_thread
from leeroo.engine.orchestrator.encoders.encode import OnProgress, check_encoder, encode_all
from leeroo.engine.orchestrator.features import ROWS_AT_ONCE, Features
from leeroo.engine.orchestrator.heads import Heads, Prediction, measure
from leeroo.engine.orchestrator.statistics import sigmoid
from leeroo.engine.orchestrator.subjects import KnownSubjects, Subject
from leeroo.engine.orchestrator.summary import Summary
from leeroo.engine.orchestrator.text_features import text_features

__all__ = ["PROBE", "Prediction", "Router"]

# Encoded with every call and compared with what it was at training: an encoder's folder may have changed.
PROBE = "Which of the following statements is true, and how many of them follow from the others?"
_SAME_ENCODER = 0.99
_CHUNK = 2048
# While one list of questions is encoded, features of others are computed; more threads would wait for the encoder.
_THREADS = min(4, max(2, os.cpu_count() or 1))


class Seen(NamedTuple):
    """The inputs of n questions: blocks [n, d] for the likeness, and states [n, t] of a fine-tuned model."""

    blocks: Float32s
    tuned: Float32s


@dataclass(frozen=True)
class Router:
    """A trained orchestrator: encoders, the features computed from them, and heads for each of its experts.

    Attributes:
        encoders: Names as `encode` describes them, layers pinned.
        adapter: A fine-tuned model, whose states are features without further change; None without one.
        experts: Names of the experts, in the order of the predictions' columns.
        contexts: Subjects and categories that it knows.
        features: Computed from the encoders' vectors and the text features.
        heads: The learned numbers.
        probe: [d], the vectors of `PROBE` at training, one encoder's after another's, the adapter's last.
        summary: Size of its training, and how well it predicts there.
    """

    encoders: tuple[str, ...]
    adapter: Adapter | None
    experts: tuple[str, ...]
    contexts: KnownSubjects
    features: Features
    heads: Heads
    probe: Float32s
    summary: Summary

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """Read a router folder.

        Raises:
            RouterError: the folder is absent, not a router's, damaged, or of another version.
            PoolError: an encoder that it names is not on this machine, and nobody known has made it.
        """
        card, numbers = folder.load(Path(path))
        for encoder in card.encoders:
            check_encoder(encoder)
        return cls(
            encoders=tuple(card.encoders),
            adapter=Adapter(Path(path) / folder.ADAPTER, card.adapter[0]) if card.adapter else None,
            experts=tuple(card.experts),
            contexts=KnownSubjects(tuple(card.subjects), tuple(card.categories)),
            features=Features(**{field.name: numbers[field.name] for field in fields(Features)}),
            heads=Heads(**{field.name: numbers[field.name] for field in fields(Heads)}),
            probe=numbers["probe"],
            summary=card.training,
        )

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write a router folder: all of it, or nothing; an older router there is replaced.

        Args:
            path: The folder.
            half: Store it in half the size, with landmarks as float16.

        Raises:
            OutputError: it cannot be written there, or something that is not a router is in the way.
        """
        adapter = self.adapter.folder if self.adapter else None
        folder.save(Path(path), self._names, self._numbers, self.summary, adapter, half=half)

    def only(self, experts: Sequence[str]) -> Router:
        """Return a router for some of its experts, in the order given; it predicts the same for them."""
        known = self.summary.experts
        return replace(
            self,
            experts=tuple(experts),
            heads=self.heads.only([self.experts.index(name) for name in experts]),
            summary=Summary.of(
                {name: known[name] for name in experts if name in known}, self.summary.questions, self.summary.seed
            ),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that decides the predictions."""
        return folder.fingerprint(self._names, self._numbers)

    @property
    def _names(self) -> folder.Names:
        return {
            "encoders": list(self.encoders),
            "experts": list(self.experts),
            "subjects": list(self.contexts.subjects),
            "categories": list(self.contexts.categories),
            "adapter": self.adapter.names if self.adapter else [],
        }

    @property
    def _numbers(self) -> folder.Numbers:
        parts = (self.features, self.heads)
        return {f.name: getattr(part, f.name) for part in parts for f in fields(part)} | {"probe": self.probe}

    def predict(self, questions: Sequence[str], contexts: Sequence[Subject] | None = None) -> Prediction:
        """Predict scores, tokens and time, arrays float32 [n, e] with columns in the order of `experts`.

        The prediction for a question does not depend on the others beyond 1e-5.

        Args:
            questions: Any texts.
            contexts: Subject and category of each; used where the router has learned that subject.

        Raises:
            PoolError: an encoder is nowhere to be found.
            RouterError: an encoder is not the one that this router was trained with.
        """
        parts = _parts(len(questions), _CHUNK)
        return _joined(
            self.predict_each((questions[part], contexts[part] if contexts is not None else None) for part in parts)
        )

    def predict_each(
        self, lists: Iterable[tuple[Sequence[str], Sequence[Subject] | None]]
    ) -> Generator[Prediction, None, None]:
        """Yield the prediction for each list of questions with their contexts. Raises as `predict`.

        The next ones are under way meanwhile; closing the generator ends them after the batch that is being encoded.
        """
        closed = threading.Event()

        def check(_done: int, _total: int) -> None:
            if closed.is_set():
                raise Interrupted

        under_way: deque[Future[Prediction]] = deque()
        with one_thread(), ThreadPoolExecutor(_THREADS, "predict") as pool:
            try:
                for questions, contexts in lists:
                    under_way.append(pool.submit(self._predict_list, questions, contexts, check))
                    if len(under_way) > _THREADS:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                closed.set()
                pool.shutdown(cancel_futures=True)

    def see(self, questions: Sequence[str], on_progress: OnProgress | None = None) -> Seen:
        """Encode questions into the inputs that features are computed from. Raises as `predict`.

        `on_progress` is called as `encode_all` does.
        """
        encoders = (*self.encoders, *([self.adapter.encoder] if self.adapter else []))
        vectors = encode_all([PROBE, *questions], encoders, on_progress)
        blocks = [vectors[encoder] for encoder in encoders]
        probes = np.split(self.probe, np.cumsum([block.shape[1] for block in blocks])[:-1])
        for encoder, block, probe in zip(encoders, blocks, probes, strict=True):
            if block.shape[1] != len(probe) or _cosine(block[0], probe) < _SAME_ENCODER:
                raise RouterError(
                    f"the encoder {encoder!r} is not the one this router was trained with: "
                    "bring that one back, or train the router again"
                )
        tuned = blocks.pop()[1:] if self.adapter else np.zeros((len(questions), 0), np.float32)
        return Seen(np.concatenate([*(block[1:] for block in blocks), text_features(questions)], axis=1), tuned)

    def _predict_list(
        self, questions: Sequence[str], contexts: Sequence[Subject] | None, on_progress: OnProgress
    ) -> Prediction:
        seen, measures = self.see(questions, on_progress), measure(questions)
        numbers = self.contexts.numbers(contexts) if contexts is not None and self.contexts else None
        return _joined(
            self._predict(
                Seen(seen.blocks[rows], seen.tuned[rows]), measures[rows], None if numbers is None else numbers[rows]
            )
            for rows in _parts(len(questions), ROWS_AT_ONCE)
        )

    def _predict(self, seen: Seen, measures: Float32s, numbers: Int64s | None) -> Prediction:
        """Predict for questions with these inputs, measures [n, 2] and, if given, numbers of contexts [n, c]."""
        prediction = self.heads.predict(self._features(seen), measures)
        if numbers is None:
            return prediction
        known = numbers[:, 0] >= 0
        scores = prediction.scores.copy()
        features = self._features(Seen(seen.blocks[known], seen.tuned[known]), numbers[known])
        scores[known] = sigmoid(self.heads.log_odds_in_context(features))
        return replace(prediction, scores=scores)

    def _features(self, seen: Seen, contexts: Int64s | None = None) -> Float32s:
        likeness = self.features.likeness(seen.blocks, contexts)
        return np.concatenate([likeness, seen.tuned], axis=1) if seen.tuned.shape[1] else likeness


def _parts(n: int, size: int) -> Iterator[slice]:
    """Yield at least one slice, so that an empty list of questions has predictions too."""
    return (slice(start, start + size) for start in range(0, max(n, 1), size))


def _joined(parts: Iterable[Prediction]) -> Prediction:
    columns = zip(*([getattr(part, f.name) for f in fields(Prediction)] for part in parts), strict=True)
    return Prediction(*(np.concatenate(column) for column in columns))


def _cosine(one: Float32s, other: Float32s) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
