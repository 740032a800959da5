"""Judging: an expert scores the answers of a table that cannot be compared, as long as it agrees with gold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.judge import RUBRIC, Answer, Judged, agreement, judge
from leeroo.engine.jobs.learn.asked import Questions, Unjudged, Verdicts
from leeroo.engine.listeners import LineListener


class TableJudge:
    """The judge of a table; call it with the answers of each wave, within `engine.delivery`.

    Attributes:
        name: The expert that judged last; None before.
        notes: What people should know of it.

    Args:
        engine: With the judge in its pool.
        questions: Of the table.
        name: The expert that judges; None for the most expensive one.
        rubric: What makes an answer right, in words for the judge.
        say: Receives a line about each wave.

    """

    def __init__(
        self, engine: Engine, questions: Questions, name: str | None, rubric: str = RUBRIC, say: LineListener = print
    ) -> None:
        self.name: str | None = None
        self.notes: list[str] = []
        self._engine, self._wanted, self._rubric, self._say = engine, name, rubric, say
        self._texts = questions.texts
        self._private: list[bool] = questions.table.column("private").to_pylist()
        self._checked: list[tuple[float, float]] = []  # the judge's score and that of gold, where there is gold

    def __call__(self, answers: Unjudged) -> Verdicts:
        """Score answers."""
        self.name = name = self._wanted or _most_expensive(answers)
        shown = self._shown(answers, name)
        said = self._ask(answers, shown, name)
        self._say(f"judged by {name}: {len(shown):,} answers")
        scores = np.full(len(answers.texts), np.nan)
        scores[shown] = said.scores
        believed = self._check(scores, answers.known, name)
        scores = np.where(np.isfinite(answers.known), answers.known, scores if believed else np.nan)
        return Verdicts(scores, said.list_cost_usd)

    def _shown(self, answers: Unjudged, name: str) -> list[int]:
        """Return the answers that the judge may see: a remote one sees no private question."""
        local = self._engine.pool[name].location == "local"
        return [i for i, q in enumerate(answers.rows) if local or not self._private[q]]

    def _ask(self, answers: Unjudged, shown: list[int], name: str) -> Judged:
        listed = [
            Answer(str(answers.rows[i]), self._texts[answers.rows[i]], answers.experts[i], answers.texts[i])
            for i in shown
        ]
        left = replace(Criteria(), max_cost_usd=answers.left_usd)
        return judge(self._engine, listed, name, left, self._rubric)

    def _check(self, scores: Float64s, known: Float64s, name: str) -> bool:
        """Return whether the judge is believed: it agrees with gold so far, or there is too little gold to say."""
        there = np.isfinite(known)
        self._checked += zip(scores[there].tolist(), known[there].tolist(), strict=True)
        found = agreement([ours for ours, _ in self._checked], [theirs for _, theirs in self._checked])
        if found.trusted:
            return True
        self.notes = [f"{name} is no judge: it agrees with gold on {found.share:.0%} of {found.n:,} answers"]
        return False


def _most_expensive(answers: Unjudged) -> str:
    usual = np.where(np.isfinite(answers.usual_usd), answers.usual_usd, -1.0)
    return answers.names[int(np.argmax(usual))]
