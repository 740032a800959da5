"""Judging: an expert scores the answers of a table that cannot be compared.

It is believed as long as it agrees with gold. Where there is too little gold to say, it must at least agree with
itself: every pair of answers is shown in both orders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.judge import RUBRIC, Answer, JudgeAgreement, Judged, agreement, judge
from leeroo.engine.jobs.learn.asked import Questions, Unjudged, Verdicts, WaveFigures
from leeroo.engine.listeners import LineListener


@dataclass(frozen=True)
class JudgeFound:
    """What was found out about a judge.

    Attributes:
        name: The expert.
        gold: Its agreement with gold.
        itself: Its agreement with itself, when the two answers are swapped.
    """

    name: str
    gold: JudgeAgreement
    itself: JudgeAgreement

    @property
    def believed(self) -> bool:
        """Whether its scores are used."""
        return self.gold.trusted if self.gold.known else self.itself.trusted

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        agreed = {"gold": self.gold, "itself": self.itself}
        shares = {name: {"n": each.n, "share": each.share if each.n else None} for name, each in agreed.items()}
        return {"name": self.name, "believed": self.believed, **shares}

    @property
    def note(self) -> str:
        """What people should know of it, in a sentence."""
        if self.gold.known:
            says = f"agrees with gold on {self.gold.share:.0%} of {self.gold.n:,} answers"
            return f"the judge {self.name} {says}" if self.believed else f"{self.name} is no judge: it {says}"
        if not self.believed:
            swapped = f"{1 - self.itself.share:.0%} of {self.itself.n:,} answers when two are swapped"
            return f"{self.name} is no judge: it contradicts itself on {swapped}, which is near chance"
        checked = f"checked against gold on {self.gold.n:,} answers only" if self.gold.n else "not checked against gold"
        if not self.itself.n:
            return f"the judge {self.name} was {checked}, and gave no verdict twice"
        found = f"it agrees with itself on {self.itself.share:.0%} of {self.itself.n:,} answers when two are swapped"
        return f"the judge {self.name} was {checked}; {found}"


class TableJudge:
    """The judge of a table; call it with the answers of each wave, within `engine.delivery`.

    Attributes:
        found: What was found out about it; None before it has judged.

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
        self.found: JudgeFound | None = None
        self._engine, self._wanted, self._rubric, self._say = engine, name, rubric, say
        self._texts = questions.texts
        self._private: list[bool] = questions.table.column("private").to_pylist()
        self._by_gold = np.zeros((0, 2))  # the judge's score and that of gold, where there is gold
        self._orders = np.zeros((0, 2))  # the judge's scores in both orders

    def __call__(self, answers: Unjudged) -> Verdicts:
        """Score answers."""
        name = self._wanted or _most_expensive(answers)
        shown = self._shown(answers, name)
        said = self._ask(answers, shown, name)
        self._say(f"judged by {name}: {len(shown):,} answers")
        scores = np.full(len(answers.texts), np.nan)
        scores[shown] = said.scores
        self._by_gold = np.concatenate([self._by_gold, np.column_stack([scores, answers.known])])
        self._orders = np.concatenate([self._orders, said.orders])
        self.found = JudgeFound(name, agreement(*self._by_gold.T), agreement(*self._orders.T))
        wave = WaveFigures(
            "judge", said.requests, said.failed, said.cost_usd, said.list_cost_usd, {name: said.requests}
        )
        return Verdicts(scores, self.found.believed, wave)

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


def _most_expensive(answers: Unjudged) -> str:
    usual = np.where(np.isfinite(answers.usual_usd), answers.usual_usd, -1.0)
    return answers.names[int(np.argmax(usual))]
