"""Learn while answering: a batch teaches, within its own budget, which expert is good at what.

The loop of the Leeroo orchestrator - answer, evaluate, learn, choose (Mohammadshahi et al. 2024, arXiv 2401.13979) - on
a table of the user's, without recorded outcomes and without labels. `policy` decides what is asked, `truth` whose
answers are right, and a judge where answers cannot be compared. Knows nothing of reports.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, answer_fields
from leeroo.engine.arrays import Float64s, Floats, Int64s
from leeroo.engine.batch.prompts import check_columns
from leeroo.engine.batch.write import check_names
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.judge import RUBRIC
from leeroo.engine.jobs.learn.advice import Advice, advise_from_sample
from leeroo.engine.jobs.learn.asked import AskedTable, Questions, find_questions, usable_experts
from leeroo.engine.jobs.learn.cover import encode_questions, sample_order
from leeroo.engine.jobs.learn.deviations import deviate
from leeroo.engine.jobs.learn.findings import LEAST_PILOT, Findings, find
from leeroo.engine.jobs.learn.judging import JudgeFound, TableJudge
from leeroo.engine.jobs.learn.outcomes import Shelf, known_beforehand, outcome_tables, router_to_start
from leeroo.engine.jobs.learn.policy import (
    Plan,
    choose_base,
    mean_costs,
    next_wave,
    refit,
    run_pilot,
    spend_on_predictions,
    spend_rest,
    start_plan,
)
from leeroo.engine.jobs.learn.results import append_answers, best_answers, leanings, scores
from leeroo.engine.jobs.learn.truth import Prior, rates
from leeroo.engine.listeners import LineListener
from leeroo.engine.money import usd as format_usd
from leeroo.engine.orchestrator.router import Router


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How a batch learns.

    Attributes:
        judge: Name of the expert that judges answers which cannot be compared; None for the most expensive one.
        rubric: What makes an answer right, in words for the judge.
        seed: Random seed.
        owner: Whose table it is: it starts from what tables of the same owner taught, and no other owner's starts from
            it. Empty for whoever uses the store directly.
    """

    judge: str | None = None
    rubric: str = RUBRIC
    seed: int = 0
    owner: str = ""


@dataclass(frozen=True)
class Learned:
    """The outcome of a batch.

    Attributes:
        rows: The table with the columns of `ANSWERS` after its own; None where only a sample was asked.
        findings: What was learned.
        router: It has learned from this batch and earlier ones of the pool; None where there is too little.
        tables: The outcomes, as tables of a data folder.
        advice: What a budget would bring on all questions; None without a router.
    """

    rows: pa.Table | None
    findings: Findings
    router: Router | None
    tables: dict[str, pa.Table]
    advice: Advice | None


def learn_rows(
    engine: Engine,
    reader: pa.RecordBatchReader,
    criteria: Criteria,
    how: Learning = Learning(),
    say: LineListener = lambda _: None,
    *,
    answer_all: bool = True,
    stop: threading.Event | None = None,
) -> Learned:
    """Answer a table, and learn from a part of it whom to ask the rest.

    Call it within `engine.delivery`, until the rows are where they should be: killed before that, the same call
    resumes and pays for nothing twice.

    Args:
        engine: With the pool. Its router, or the one that an earlier batch left in the store, is where it starts.
        reader: The table.
        criteria: Columns and budget.
        how: Judge, seed and owner.
        say: Receives a line about each wave.
        stop: Stops the call when another thread sets it.
        answer_all: Spend the rest of the budget on answers; else all of it on the sample.

    Raises:
        UsageError: the criteria have weights, one expert for all, or no budget.
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    _check(engine, criteria, how)
    check_columns(reader.schema, criteria)
    if answer_all:
        check_names(reader.schema, answer_fields(engine.pool.experts, criteria), criteria.prefix)
    table = reader.read_all()
    questions = find_questions(table, criteria)
    usd = _budget(engine, questions, criteria)
    shelf = Shelf(engine.store.folder, engine.pool, how.owner, _name(questions, criteria, how, answer_all))
    judge = TableJudge(engine, questions, how.judge, how.rubric, say)
    with shelf.under_way():
        batch = _prepare(engine, questions, criteria, how, shelf, judge, say, stop)
        asked = batch.asked
        plan = _ask_pilot(batch, usd, answer_all=answer_all)
        theta = _answer_rest(asked, plan, batch.prior, usd, batch.rng) if answer_all else plan.skills.likely
        tables = outcome_tables(asked, scores(asked, theta), batch.order)
        found = shelf.learn(tables, how.seed, say)
    router = None if isinstance(found, str) else found
    notes = _notes(asked, plan, usd, judge.found)
    if isinstance(found, str):
        notes.append(f"no router was trained: {found}")
    expert, sure = best_answers(asked, theta)
    findings = find(asked, plan, expert, usd, engine.pool.default, how.seed, notes, judge.found)
    if answer_all:
        rows = append_answers(table, asked, expert, sure, answer_fields(engine.pool.experts, criteria), criteria.prefix)
        return Learned(rows, findings, router, tables, None)
    advice = None if router is None else advise_from_sample(asked, plan, router, how.seed)
    return Learned(None, findings, router, tables, advice)


@dataclass(frozen=True)
class _Batch:
    """A batch before its first question is sent.

    Attributes:
        asked: Its questions.
        prior: What is known of the experts.
        vectors: [n, d], of the questions; None where nothing can encode them.
        order: [n], in which they are sent.
        rng: For draws.
    """

    asked: AskedTable
    prior: Prior
    vectors: Floats | None
    order: Int64s
    rng: np.random.Generator


def _prepare(
    engine: Engine,
    questions: Questions,
    criteria: Criteria,
    how: Learning,
    shelf: Shelf,
    judge: TableJudge,
    say: LineListener,
    stop: threading.Event | None,
) -> _Batch:
    start = router_to_start(engine, shelf.start(), say)
    expected = shelf.expected_costs(lambda: _expected_costs(engine, questions))
    asked = AskedTable(engine, questions, criteria, expected, say, judge, stop)
    prior = known_beforehand(asked, start)
    asked.evidence = replace(asked.evidence, offset=prior.offset)
    vectors = encode_questions(questions.texts, say)
    rng = np.random.default_rng(how.seed)
    with_gold = np.flatnonzero(questions.known).tolist()
    return _Batch(asked, prior, vectors, sample_order(len(questions.texts), vectors, with_gold, rng), rng)


def _ask_pilot(batch: _Batch, usd: float, *, answer_all: bool) -> Plan:
    """Run the pilot, which learns from the questions' vectors on which of them an expert is better than usual."""
    asked = batch.asked

    def learn_deviations(plan: Plan) -> None:
        if batch.vectors is not None:
            offset = deviate(asked.evidence, batch.prior, batch.vectors, plan.pilot, plan.skills.likely)
            asked.evidence = replace(asked.evidence, offset=offset)

    return run_pilot(asked, batch.prior, batch.order, usd, batch.rng, learn_deviations, all_of_it=not answer_all)


def _answer_rest(asked: AskedTable, plan: Plan, prior: Prior, usd: float, rng: np.random.Generator) -> Float64s:
    """Spend what the pilot left on answers, and return the skills that are known then [e]."""
    theta = plan.skills.likely
    if not len(asked.rows):
        return theta
    if not asked.comparable:
        spend_on_predictions(asked, plan, rates(theta + asked.evidence.offset), usd)
        return theta
    plan.base = choose_base(asked, plan, usd, rng)
    spend_rest(asked, plan, prior, usd)
    return refit(asked, prior, theta)


def _notes(asked: AskedTable, plan: Plan, usd: float, judge: JudgeFound | None) -> list[str]:
    """Return what people should know of a pilot."""
    if not len(asked.rows):
        return []
    found = [] if judge is None else [judge.note]
    found += [
        f"{name} answers {letter} to {often:.0%} of the questions with lettered options: it hardly reads them, and"
        " experts that do the same agree without being right"
        for name, (letter, often) in leanings(asked).items()
    ]
    if len(plan.pilot) < LEAST_PILOT:
        found.append(
            f"only {len(plan.pilot)} of {len(asked.rows)} questions were sent to several experts within"
            f" {format_usd(usd)}: experts are chosen by what their prices say"
        )
    elif not asked.questions.known.any():
        found.append(
            "no right answer is known, and agreement hardly shows how hard the questions are: intervals are wide;"
            " right answers of a hundred rows (gold) make them narrower"
        )
    return found


@contextlib.contextmanager
def answer(
    engine: Engine,
    reader: pa.RecordBatchReader,
    criteria: Criteria,
    stop: threading.Event | None = None,
    *,
    partial: bool = False,
    send: bool = True,
    owner: str = "",
) -> Iterator[pa.RecordBatchReader]:
    """Answer a table as `Engine.answer` does, paid by its owner, and learn from it where the criteria say so."""
    if not criteria.learn:
        with engine.delivery(owner), engine.answer(reader, criteria, stop, partial=partial, send=send) as answers:
            yield answers
        return
    with engine.delivery(owner):
        learned = learn_rows(engine, reader, criteria, Learning(owner=owner), stop=stop)
        assert learned.rows is not None
        yield learned.rows.to_reader()


def foresee_pilot(engine: Engine, reader: pa.RecordBatchReader, criteria: Criteria, how: Learning = Learning()) -> str:
    """Return in one line what the first wave of a pilot would be, and what all of it may take."""
    _check(engine, criteria, how)
    questions = find_questions(reader.read_all(), criteria)
    usd = _budget(engine, questions, criteria)
    expected = _expected_costs(engine, questions, as_if_able=True)
    asked = AskedTable(engine, questions, criteria, expected, lambda _: None)
    plan = start_plan(asked, known_beforehand(asked, None), np.random.default_rng(how.seed), usd)
    wave = next_wave(asked, plan, usd)
    if not wave.any() or len(plan.going_on) < 2:
        return f"no pilot fits into {format_usd(usd)}: experts would be chosen by what their prices say"
    asking = np.flatnonzero(wave)
    price = float(wave[asking] @ mean_costs(asked.costs, plan.going_on)[asking])
    return (
        f"a first wave of {wave.max():,} questions to {len(asking)} experts for about {format_usd(price)}, then those"
        f" that are left, for at most three tenths of {format_usd(usd)}; the rest buys answers"
    )


def _check(engine: Engine, criteria: Criteria, how: Learning) -> None:
    if criteria.cost_weight or criteria.latency_weight:
        raise UsageError("learning spends a budget: give max_cost_usd instead of weights")
    if criteria.expert is not None:
        raise UsageError("learning chooses between experts: leave expert out")
    if len(engine.pool.experts) < 2:
        raise UsageError("learning chooses between experts, and the pool has one: add another [[expert]]")
    if how.judge is not None:
        engine.pool[how.judge]


def _expected_costs(engine: Engine, questions: Questions, *, as_if_able: bool = False) -> Float64s:
    """Return the USD that an answer of each expert is expected to cost, and what it can cost at most, [2, n, e]."""
    criteria = Criteria(column="question", private_column="private", ask_column="ask")
    expected = engine.expect(questions.table.to_reader(), criteria, as_if_able=as_if_able)
    at = [expected.experts.index(expert.name) for expert in usable_experts(engine.pool)]
    return np.stack([expected.costs[:, at], expected.at_most[:, at]]).astype(np.float64)


def _name(questions: Questions, criteria: Criteria, how: Learning, answer_all: bool) -> str:
    """Return the name of the batch: the same questions under the same conditions."""
    digest = hashlib.sha256(repr((criteria, criteria.gold, how, answer_all)).encode())
    for text, gold in zip(questions.texts, questions.gold, strict=True):
        digest.update(f"{text}\0{gold}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _budget(engine: Engine, questions: Questions, criteria: Criteria) -> float:
    """Return the budget.

    Raises:
        UsageError: there is none.
    """
    if criteria.max_cost_usd is not None:
        return criteria.max_cost_usd
    names = [expert.name for expert in usable_experts(engine.pool)]
    alone = dict(zip(names, np.nansum(_expected_costs(engine, questions)[0], axis=0).tolist(), strict=True))
    shown = dict.fromkeys(
        [name for name in (engine.pool.default, max(alone, key=alone.__getitem__, default="")) if alone.get(name)]
    )
    about = ", ".join(f"{name} alone would cost about {format_usd(alone[name])}" for name in shown)
    about = f" ({about})" if about else ""
    raise UsageError(f"learning spends a budget: give max_cost_usd{about}")
