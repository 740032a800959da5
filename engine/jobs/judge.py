"""Judge: scores of answers without a known right one - by the agreement of strong experts, or by a judge.

The judge sees two answers to the same question side by side, without their authors, and says which are right. Judges
favour places, so it does that twice, with the places swapped (Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench
and Chatbot Arena", arXiv 2306.05685). Its reliability is measured on answers with computed scores. Knows nothing of
rounds.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.choice_calibration import probabilities
from leeroo.engine.jobs.questions import answer_questions, paid_usd
from leeroo.engine.jobs.verify import final_answer, simplify

RUBRIC = (
    "Judge an answer by its result, not by its style or length. It is right when what it says in the end is correct "
    "and answers all of the question."
)
# The verdicts on one answer or two, and the credit that each verdict gives to each answer.
_VERDICTS = {1: ("right", "wrong"), 2: ("A", "B", "both", "neither")}
_CREDIT = {"right": (1,), "wrong": (0,), "A": (1, 0), "B": (0, 1), "both": (1, 1), "neither": (0, 0)}
# Fewest experts of which two can be a majority.
_QUORUM = 3
# Most words of an answer: agreement of longer ones cannot be seen.
_SHORT_WORDS = 8
# Below that agreement beyond chance (Cohen's kappa) a judge is not believed; "fair" begins there (Landis & Koch, "The
# Measurement of Observer Agreement for Categorical Data", Biometrics 1977).
_FAIR, _ENOUGH = 0.2, 30


@dataclass(frozen=True)
class Answer:
    """The answer of an expert to a question; both by name."""

    query_id: str
    question: str
    expert: str
    text: str


@dataclass(frozen=True)
class JudgeAgreement:
    """The agreement of a judge with computed scores, or with itself, on n answers.

    Attributes:
        n: Answers.
        share: The part of them on which both say right or both say wrong.
        kappa: Agreement beyond chance (Cohen, "A Coefficient of Agreement for Nominal Scales", 1960): 0 by chance, 1 at
            most; NaN where it cannot be computed.
    """

    n: int
    share: float
    kappa: float

    @property
    def trusted(self) -> bool:
        """True if the judge can be trusted; too few answers say nothing against it, and so does full agreement."""
        return not self.known or self.share == 1 or self.kappa >= _FAIR

    @property
    def known(self) -> bool:
        """True if there are enough answers to say whether the judge can be trusted."""
        return self.n >= _ENOUGH


@dataclass(frozen=True)
class Judged:
    """The verdicts of a judge on n answers.

    Attributes:
        scores: The probability that each is right [n], NaN where the judge gave none.
        orders: [m, 2], the same of each answer in each pair that was shown, with the pair in one order and the other.
        requests: For verdicts.
        failed: Requests without one.
        cost_usd: Paid.
        list_cost_usd: The list price of all verdicts, also of those that the store had.
    """

    scores: Float64s
    orders: Float64s
    requests: int
    failed: int
    cost_usd: float
    list_cost_usd: float


def judge(engine: Engine, answers: Sequence[Answer], expert: str, criteria: Criteria, rubric: str = RUBRIC) -> Judged:
    """Have an expert judge answers, those to the same question side by side.

    Args:
        engine: With the expert in its pool.
        answers: [n], in any order.
        expert: Name of the judge.
        criteria: What may be spent.
        rubric: What makes an answer right, in words for the judge.

    Call it within `engine.delivery`.

    Raises:
        PoolError, OutputError: as `Engine.answer`.

    """
    shown = _side_by_side(answers)
    verdicts = [_VERDICTS[len(rows)][:: 1 if i % 2 else -1] for i, rows in enumerate(shown)]
    prompts = [_prompt([answers[i] for i in rows], rubric) for rows in shown]
    given = {"expert": [expert] * len(shown), "choices": [list(choices) for choices in verdicts]}
    judged = answer_questions(engine, prompts, given, criteria)
    said = zip(judged.column("answer").to_pylist(), judged.column("choice_logprobs").to_pylist(), strict=True)
    credits = [_credit(choices, text, logs) for choices, (text, logs) in zip(verdicts, said, strict=True)]
    total, count = np.zeros(len(answers)), np.zeros(len(answers))
    for rows, credit in zip(shown, credits, strict=True):
        if credit is not None:
            total[rows] += credit
            count[rows] += 1
    with np.errstate(invalid="ignore"):
        scores = total / count
    # A request that occurs twice, as where two experts said the same, is paid for once.
    requests = zip(prompts, map(tuple, verdicts), strict=True)
    prices = dict(zip(requests, judged.column("list_cost_usd").to_pylist(), strict=True))
    failed = sum(credit is None for credit in credits)
    return Judged(scores, _orders(credits), len(shown), failed, paid_usd(judged), sum(prices.values()))


def agreement(judged: Sequence[float], computed: Sequence[float]) -> JudgeAgreement:
    """Compare the probabilities of a judge [n] with computed scores [n]; from 1/2 on both count as right.

    Answers of which one of them is NaN do not count.
    """
    from sklearn.metrics import cohen_kappa_score

    known = np.isfinite(judged) & np.isfinite(computed)
    ours, theirs = np.asarray(judged)[known] >= 0.5, np.asarray(computed)[known] >= 0.5
    if not len(ours):
        return JudgeAgreement(0, float("nan"), float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where both always say the same, kappa is NaN
        kappa = float(cohen_kappa_score(ours, theirs))
    return JudgeAgreement(len(ours), float((ours == theirs).mean()), kappa)


def consensus(answers: Sequence[Answer], trust: Mapping[str, float]) -> Float64s:
    """Score answers [n] to questions on which strong experts agree; NaN where they do not.

    Where at least three experts gave short answers to a question, what at least two of them say with more than half of
    all their trust counts as right.

    Args:
        answers: [n], in any order.
        trust: Mean score by expert; 1/2 for one that is not there.
    """
    scores = np.full(len(answers), np.nan)
    for rows in _by_question(answers):
        said = {i: simplify(final_answer(answers[i].text)) for i in rows}
        short = {i: text for i, text in said.items() if text and len(text.split()) <= _SHORT_WORDS}
        weight = {i: trust.get(answers[i].expert, 0.5) for i in short}
        of_text: defaultdict[str, list[int]] = defaultdict(list)
        for i, text in short.items():
            of_text[text].append(i)
        if len(short) < _QUORUM:
            continue
        best = max(of_text.values(), key=lambda same: sum(weight[i] for i in same))
        if len(best) > 1 and sum(weight[i] for i in best) > sum(weight.values()) / 2:
            scores[rows] = [float(said[i] == said[best[0]]) for i in rows]
    return scores


def _by_question(answers: Sequence[Answer]) -> list[list[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for i, answer in enumerate(answers):
        rows[answer.query_id].append(i)
    return list(rows.values())


def _side_by_side(answers: Sequence[Answer]) -> list[list[int]]:
    """Pair each answer with the next one to its question, in both orders; a single one is alone in two."""
    shown: list[list[int]] = []
    for rows in _by_question(answers):
        neighbours = zip(rows, [*rows[1:], rows[0]], strict=True)
        pairs = [[i, j] for i, j in neighbours] if len(rows) > 1 else [rows]
        shown += [order for pair in pairs[: None if len(rows) > 2 else 1] for order in (pair, pair[::-1])]
    return shown


def _prompt(answers: Sequence[Answer], rubric: str) -> str:
    names = [f"Answer {letter}" for letter in "AB"] if len(answers) > 1 else ["Answer"]
    shown = "\n\n".join(f"{name}:\n{each.text.strip()}" for name, each in zip(names, answers, strict=True))
    verdict = "Which of the two answers is right?" if len(answers) > 1 else "Is the answer right?"
    return f"{rubric}\n\nQuestion:\n{answers[0].question}\n\n{shown}\n\n{verdict}"


def _credit(choices: Sequence[str], text: str, logs: Sequence[float] | None) -> Float64s | None:
    """Return the probability that each answer that was shown is right; None where the judge gave no verdict."""
    if text not in choices:
        return None
    return np.asarray(_chances(choices, text, logs) @ np.array([_CREDIT[choice] for choice in choices]))


def _orders(credits: Sequence[Float64s | None]) -> Float64s:
    """Return the verdicts on each answer of each pair, in both orders [m, 2]; see `_side_by_side`."""
    both = [
        np.column_stack([one, other[::-1]])
        for one, other in zip(credits[::2], credits[1::2], strict=True)
        if one is not None and other is not None
    ]
    return np.concatenate([np.zeros((0, 2)), *both])


def _chances(choices: Sequence[str], text: str, logs: Sequence[float] | None) -> Float64s:
    """Return the probability of each choice; an answer without a probability is certain."""
    at = choices.index(text)
    chances: Float64s = probabilities([logs], len(choices))[0]
    return chances if chances[at] > 0 else np.eye(len(choices))[at]
