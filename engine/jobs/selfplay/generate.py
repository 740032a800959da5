"""Generate: new questions to learn from - from families with computed answers, from users, or written by an expert.

An expert writes from seeds: examples, and topics on which no expert is good. Its text is kept if it reads as one
question, is not nearly an existing one, and the expert itself calls it clear. Knows nothing of rounds.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float32s
from leeroo.engine.batch.prompts import check_columns
from leeroo.engine.jobs.questions import answer_questions, left_usd, paid_usd
from leeroo.engine.jobs.selfplay.families import FAMILIES
from leeroo.engine.jobs.verify import Check, check_for
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.engine.schema import ROUND_QUERIES

_LEVELS = (1, 2, 3)
# Trials for each question that is wanted: after these a small family has no new ones left.
_TRIALS = 20
# Cosine of MiniLM's vectors from which on two questions are nearly the same.
_NEAR = 0.9
_SHOWN = 4
_WRITTEN_TOKENS = 80
_FEWEST_WORDS, _MOST_WORDS = 4, 80
_MARK = re.compile(r"^\s*(?:[-*#>]+|\d+[.)]|(?i:question|q)\s*\d*\s*[:.])\s*")
_REFUSES = re.compile(r"(?i)\b(?:as an ai|i'm sorry|i am sorry|i cannot|here (?:is|are)|of course|sure[,!])")
_CLEAR = ("yes", "no")
_IS_CLEAR = "Can the following question be understood by itself, and has it one right answer?"


@dataclass(frozen=True)
class NewQuestion:
    """A question on its way into a round.

    Attributes:
        question: Its text.
        answer: The right one; None where it is not known.
        check: How an answer is compared with it, see `verify`; None where there is no right answer to compare with.
        topic: The family it is of, or what it was written about.
        made_by: 'family', 'seed', or the expert that wrote it.
        choices: Of a multiple-choice question.
    """

    question: str
    answer: str | None
    check: Check | None
    topic: str | None
    made_by: str
    choices: tuple[str, ...] | None = None

    @property
    def query_id(self) -> str:
        """An id that is the same for the same question."""
        return "q-" + hashlib.sha256(self.question.encode()).hexdigest()[:16]


def as_queries(questions: Sequence[NewQuestion], split: str) -> pa.Table:
    """Return a table of `ROUND_QUERIES`.

    The subject stays empty: users ask without one, and what is measured should be measured as they ask.
    """
    shared = {"dataset": "selfplay", "split": split}
    rows = [{**vars(each), **shared, "query_id": each.query_id, "prompt": each.question} for each in questions]
    return pa.Table.from_pylist(rows, schema=ROUND_QUERIES)


def read_seeds(reader: pa.RecordBatchReader, column: str) -> list[NewQuestion]:
    """Read a user's own questions, each once, with right answers where there are any.

    The right answer is in a column `answer`: a number, or texts with ';' between of which one must be in an answer.
    Where there is a list of `choices`, it is the letter of one.

    Raises:
        InputError: there is no such column of texts.
    """
    check_columns(reader.schema, Criteria(column=column))
    seeds: dict[str, NewQuestion] = {}
    for row in reader.read_all().to_pylist():
        if row[column] is None or not row[column].strip():
            continue
        choices = row.get("choices")
        question = _with_choices(row[column], choices)
        right = None if row.get("answer") is None else str(row["answer"])
        check = None if right is None else check_for(right)
        seeds[question] = NewQuestion(question, right, check, row.get("subject"), "seed", choices and tuple(choices))
    return list(seeds.values())


def _with_choices(question: str, choices: Sequence[str] | None) -> str:
    """Add the lettered choices to a question, unless it has them already."""
    if not choices or choices[0] in question:
        return question
    return "\n".join([question, *(f"{chr(65 + i)}. {choice}" for i, choice in enumerate(choices))])


def generate_from_families(names: Sequence[str], n: int, rng: random.Random, known: set[str]) -> list[NewQuestion]:
    """Generate questions from families, equally many of each and of each level.

    Args:
        names: Keys of `FAMILIES`.
        n: Most questions; fewer where a family has no more.
        rng: Random numbers.
        known: Questions there are already; the new ones are added.
    """
    made: list[NewQuestion] = []
    for trial in range(_TRIALS * n if names else 0):
        if len(made) == n:
            break
        name, level = names[trial % len(names)], _LEVELS[trial // len(names) % len(_LEVELS)]
        each = FAMILIES[name](rng, level)
        if each.question not in known:
            known.add(each.question)
            made.append(NewQuestion(each.question, each.answer, each.check, name, "family"))
    return made


def write_questions(
    engine: Engine,
    writer: str,
    seeds: Sequence[tuple[str | None, Sequence[str]]],
    known: Sequence[str],
    rng: random.Random,
    criteria: Criteria,
) -> tuple[list[NewQuestion], float]:
    """Have an expert write questions, one for each seed, and drop those that are unfit.

    Args:
        engine: An engine with the writer in its pool.
        writer: Name of the expert.
        seeds: Topics, or None, with examples; at least one example each.
        known: Questions that the new ones may not resemble.
        rng: Random numbers.
        criteria: What may be spent.

    Returns:
        The questions, and the USD paid for them. Call it within `engine.delivery`, which lasts until they are stored.

    Raises:
        PoolError, OutputError: as `Engine.answer`.

    """
    prompts = [_prompt(topic, rng.sample(list(examples), min(_SHOWN, len(examples)))) for topic, examples in seeds]
    given = {"expert": writer, "temperature": 1.0, "max_tokens": _WRITTEN_TOKENS}
    written, spent = _answer_all(engine, prompts, given, criteria)
    fit: list[tuple[str, str | None]] = []
    for text, (topic, _) in zip(written, seeds, strict=True):
        if (question := parse_question(text or "")) is not None:
            fit.append((question, topic))
    fit = [fit[i] for i in find_new([question for question, _ in fit], known)]
    if not fit:
        return [], spent
    checks = [f"{_IS_CLEAR}\n\n{question}" for question, _ in fit]
    rest = replace(criteria, max_cost_usd=left_usd(criteria, spent))
    clear, more = _answer_all(engine, checks, {"expert": writer, "choices": list(_CLEAR)}, rest)
    kept = [
        NewQuestion(question, None, None, topic, writer)
        for (question, topic), said in zip(fit, clear, strict=True)
        if said == _CLEAR[0]
    ]
    return kept, spent + more


def parse_question(text: str) -> str | None:
    """Read a model's text as one question; None where it does not read as one."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return None
    question = _MARK.sub("", lines[0]).strip().strip("\"'*").strip()
    words = len(question.split())
    letters = sum(character.isalpha() or character.isspace() for character in question)
    if not question.endswith(("?", ".")) or not _FEWEST_WORDS <= words <= _MOST_WORDS:
        return None
    if _REFUSES.search(question) or "answer:" in question.lower() or letters < len(question) / 2:
        return None
    return question


def find_new(texts: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the positions of texts that are not near a known or an earlier text, by MiniLM's vectors."""
    if not texts:
        return []
    vectors, there = encode(list(texts)), encode(list(known))
    kept: list[int] = []
    for i, vector in enumerate(vectors):
        if _nearest(vector, there) < _NEAR and _nearest(vector, vectors[kept]) < _NEAR:
            kept.append(i)
    return kept


def _nearest(vector: Float32s, others: Float32s) -> float:
    return float(np.max(others @ vector, initial=-1.0))


def _prompt(topic: str | None, examples: Sequence[str]) -> str:
    about = f" It is about: {topic}." if topic else ""
    shown = "\n".join(f"- {' '.join(example.split())}" for example in examples)
    return (
        f"Here are some questions:\n{shown}\n\nWrite one new question of this kind, with other things and other "
        f"numbers in it, that has one short right answer.{about} Write only the question."
    )


def _answer_all(
    engine: Engine, questions: Sequence[str], given: Mapping[str, object], criteria: Criteria
) -> tuple[list[str | None], float]:
    """Return the answers to questions with the same arguments, and the USD paid for them."""
    n = len(questions)
    answers = answer_questions(engine, questions, {name: [value] * n for name, value in given.items()}, criteria)
    return answers.column("answer").to_pylist(), paid_usd(answers)
