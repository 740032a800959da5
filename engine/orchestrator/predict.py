"""Predict: what every expert would make of a question, before any of them is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator import folder
from leeroo.engine.orchestrator.encode import encode
from leeroo.engine.orchestrator.heads import Float32s, Heads, Prediction, measure
from leeroo.engine.orchestrator.summary import Summary

__all__ = ["PROBE", "Prediction", "Router"]

# Encoded with every call and compared with what it was at training: an encoder folder may have changed.
PROBE = "Which of the following statements is true, and how many of them follow from the others?"
_SAME_ENCODER = 0.99
_CHUNK = 2048


@dataclass(frozen=True)
class Router:
    """A trained orchestrator: an encoder, and heads for each of its experts.

    Attributes:
        encoder: Hub id or folder of the sentence encoder.
        experts: Names of the experts, in the order of the predictions' columns.
        heads: What was learned.
        probe: [d], the vector of `PROBE` when it was learned.
        summary: On what it was learned, and how well it does there.
    """

    encoder: str
    experts: tuple[str, ...]
    heads: Heads
    probe: Float32s
    summary: Summary

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """Read a router folder.

        Raises:
            RouterError: the folder is absent, not a router's, damaged, or of another version.
        """
        card, arrays = folder.load(Path(path))
        probe = arrays.pop("probe")
        return cls(card.encoder, tuple(card.experts), Heads(**arrays), probe, card.training)

    def save(self, path: str | Path) -> None:
        """Write a router folder: all of it, or nothing; an older router there is replaced.

        Raises:
            OutputError: it cannot be written there, or something that is not a router is in the way.
        """
        folder.save(Path(path), self.encoder, self.experts, self._arrays, self.summary)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that decides the predictions."""
        return folder.fingerprint(self.encoder, self.experts, self._arrays)

    @property
    def _arrays(self) -> dict[str, Float32s]:
        return {**self.heads.arrays(), "probe": self.probe}

    def predict(self, questions: Sequence[str]) -> Prediction:
        """Scores, tokens and time to expect, arrays float32 [n, e] with columns in the order of `experts`.

        The prediction for a question does not depend on the others beyond 1e-5.

        Raises:
            PoolError: the encoder is nowhere to be found.
            RouterError: the encoder is not the one that this router was trained with.
        """
        parts = [self._predict(questions[i : i + _CHUNK]) for i in range(0, max(len(questions), 1), _CHUNK)]
        return Prediction(*(np.concatenate(column) for column in zip(*map(_columns, parts), strict=True)))

    def _predict(self, questions: Sequence[str]) -> Prediction:
        vectors = encode([PROBE, *questions], self.encoder)
        if vectors.shape[1] != len(self.probe) or vectors[0] @ self.probe < _SAME_ENCODER:
            raise RouterError(
                f"the encoder {self.encoder!r} is not the one this router was trained with: "
                "bring that one back, or train the router again"
            )
        return self.heads.predict(vectors[1:], measure(questions))


def _columns(prediction: Prediction) -> tuple[Float32s, ...]:
    return prediction.scores, prediction.prompt_tokens, prediction.completion_tokens, prediction.latency_ms
