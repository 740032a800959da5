"""Predict: what every expert would make of a question, before any of them is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator import folder
from leeroo.engine.orchestrator.contexts import Context, Contexts
from leeroo.engine.orchestrator.encode import encode_all
from leeroo.engine.orchestrator.features import Features
from leeroo.engine.orchestrator.heads import Float32s, Heads, Prediction, measure, sigmoid
from leeroo.engine.orchestrator.summary import Summary
from leeroo.engine.orchestrator.surface import surface

__all__ = ["PROBE", "Prediction", "Router"]

# Encoded with every call and compared with what it was at training: an encoder's folder may have changed.
PROBE = "Which of the following statements is true, and how many of them follow from the others?"
_SAME_ENCODER = 0.99
_CHUNK = 2048


@dataclass(frozen=True)
class Router:
    """A trained orchestrator: encoders, the features made of what they see, and heads for each of its experts.

    Attributes:
        encoders: As `encode` describes them, layers pinned.
        experts: Names of the experts, in the order of the predictions' columns.
        contexts: Subjects and categories that it knows.
        features: Made of the encoders' vectors and the question's surface.
        heads: What was learned.
        probe: [d], the vectors of `PROBE` when it was learned, one encoder's after another's.
        summary: On what it was learned, and how well it does there.
    """

    encoders: tuple[str, ...]
    experts: tuple[str, ...]
    contexts: Contexts
    features: Features
    heads: Heads
    probe: Float32s
    summary: Summary

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """Read a router folder.

        Raises:
            RouterError: the folder is absent, not a router's, damaged, or of another version.
        """
        card, numbers = folder.load(Path(path))
        return cls(
            encoders=tuple(card.encoders),
            experts=tuple(card.experts),
            contexts=Contexts(tuple(card.subjects), tuple(card.categories)),
            features=Features(**{field.name: numbers[field.name] for field in fields(Features)}),
            heads=Heads(**{field.name: numbers[field.name] for field in fields(Heads)}),
            probe=numbers["probe"],
            summary=card.training,
        )

    def save(self, path: str | Path) -> None:
        """Write a router folder: all of it, or nothing; an older router there is replaced.

        Raises:
            OutputError: it cannot be written there, or something that is not a router is in the way.
        """
        folder.save(Path(path), self._names, self._numbers, self.summary)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that decides the predictions."""
        return folder.fingerprint(self._names, self._numbers)

    @property
    def _names(self) -> folder.Names:
        return {
            "encoders": list(self.encoders),
            "experts": list(self.experts),
            "subjects": list(self.contexts.subjects),
            "categories": list(self.contexts.categories),
        }

    @property
    def _numbers(self) -> folder.Numbers:
        return {**self.features.arrays(), **self.heads.arrays(), "probe": self.probe}

    def predict(self, questions: Sequence[str], contexts: Sequence[Context] | None = None) -> Prediction:
        """Scores, tokens and time to expect, arrays float32 [n, e] with columns in the order of `experts`.

        The prediction for a question does not depend on the others beyond 1e-5.

        Args:
            questions: Any texts.
            contexts: Subject and category of each; of use where the router has learned that subject.

        Raises:
            PoolError: an encoder is nowhere to be found.
            RouterError: an encoder is not the one that this router was trained with.
        """
        parts = [
            self._predict(questions[part], contexts[part] if contexts is not None else None)
            for part in _parts(len(questions))
        ]
        return Prediction(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Prediction)))

    def see(self, questions: Sequence[str]) -> Float32s:
        """What the features are made of, [n, d]. Raises as `predict`."""
        vectors = encode_all([PROBE, *questions], self.encoders)
        blocks = [vectors[encoder] for encoder in self.encoders]
        ends = np.cumsum([block.shape[1] for block in blocks])
        probes = np.split(self.probe, ends[:-1])
        for encoder, block, probe in zip(self.encoders, blocks, probes, strict=True):
            if block.shape[1] != len(probe) or _cosine(block[0], probe) < _SAME_ENCODER:
                raise RouterError(
                    f"the encoder {encoder!r} is not the one this router was trained with: "
                    "bring that one back, or train the router again"
                )
        return np.concatenate([*(block[1:] for block in blocks), surface(questions)], axis=1)

    def _predict(self, questions: Sequence[str], contexts: Sequence[Context] | None) -> Prediction:
        seen = self.see(questions)
        prediction = self.heads.predict(self.features.likeness(seen), measure(questions))
        if contexts is None or not self.contexts:
            return prediction
        numbers = self.contexts.numbers(contexts)
        known = numbers[:, 0] >= 0
        scores = prediction.scores.copy()
        scores[known] = sigmoid(self.heads.log_odds_in_context(self.features.likeness(seen[known], numbers[known])))
        return replace(prediction, scores=scores)


def _parts(n: int) -> Iterator[slice]:
    """At least one, so that no questions have predictions too."""
    return (slice(start, start + _CHUNK) for start in range(0, max(n, 1), _CHUNK))


def _cosine(one: Float32s, other: Float32s) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
