"""Learn while answering: a batch teaches, within its own budget, which expert is good at what.

The loop of the Leeroo orchestrator - answer, evaluate, learn, choose (Mohammadshahi et al. 2024, arXiv 2401.13979) - on
a table of the user's, without recorded outcomes and without labels. `policy` decides what is asked, `truth` whose
answers are right, and a judge where answers cannot be compared. Knows nothing of reports.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, answer_fields
from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.batch.prompts import check_columns
from leeroo.engine.batch.write import check_names
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.judge import RUBRIC, Answer, agreement, judge
from leeroo.engine.jobs.learn.advice import Advice, advise
from leeroo.engine.jobs.learn.asked import AskedTable, Questions, find_questions, usable_experts
from leeroo.engine.jobs.learn.cover import encode_questions, sample_order
from leeroo.engine.jobs.learn.deviations import deviate
from leeroo.engine.jobs.learn.findings import LEAST_PILOT, Findings, find
from leeroo.engine.jobs.learn.outcomes import Shelf, outcome_tables
from leeroo.engine.jobs.learn.policy import (
    Plan,
    choose_base,
    mean_costs,
    questions_of_wave,
    refit,
    run_pilot,
    spend_on_predictions,
    spend_rest,
)
from leeroo.engine.jobs.learn.skills import Prior, price_prior, router_prior
from leeroo.engine.jobs.learn.truth import Posterior, posterior, rates, right
from leeroo.engine.listeners import LineListener
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.router import Router


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How a batch learns.

    Attributes:
        judge: Name of the expert that judges answers which cannot be compared; None for the most expensive one.
        rubric: What makes an answer right, in words for the judge.
        seed: Random seed.
    """

    judge: str | None = None
    rubric: str = RUBRIC
    seed: int = 0


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
        how: Judge and seed.
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
        check_names(reader.schema, _added(engine, criteria), criteria.prefix)
    table = reader.read_all()
    questions = find_questions(table, criteria)
    shelf = Shelf(engine.store.folder, engine.pool, _name(questions, criteria, how, answer_all))
    start = _router_to_start(engine, shelf.start(), say)
    expected = shelf.expected_costs(lambda: _expected_costs(engine, questions))
    learning = _Batch(engine, questions, criteria, expected, how, say, start)
    learning.asked.stop = stop
    learning.run(answer_all=answer_all)
    scores = learning.scores()
    tables = outcome_tables(learning.asked, scores, learning.order)
    found = shelf.learn(tables, how.seed, say)
    if isinstance(found, str):
        learning.notes.append(f"no router was trained: {found}")
    rows = learning.rows(table) if answer_all else None
    router = None if isinstance(found, str) else found
    advice = None if router is None or answer_all else learning.advice(router)
    return Learned(rows, learning.findings(), router, tables, advice)


@contextlib.contextmanager
def answer(
    engine: Engine,
    reader: pa.RecordBatchReader,
    criteria: Criteria,
    stop: threading.Event | None = None,
    *,
    partial: bool = False,
) -> Iterator[pa.RecordBatchReader]:
    """Answer a table as `Engine.answer` does, and learn from it where the criteria say so."""
    if not criteria.learn:
        with engine.answer(reader, criteria, stop, partial=partial) as answers:
            yield answers
        return
    with engine.delivery():
        learned = learn_rows(engine, reader, criteria, stop=stop)
        assert learned.rows is not None
        yield learned.rows.to_reader()


def _router_to_start(engine: Engine, learned: Router | None, say: LineListener) -> Router | None:
    """Return the router that is given, or what earlier batches learned, or what a shipped router knows of the pool."""
    engine.take_remarks()
    if engine.prior is None and engine.router is not None:
        return engine.router
    if learned is not None:
        say("starting from what earlier tables taught of this pool")
        return learned
    if engine.prior is not None:
        known = len(engine.prior.known)
        say(
            f"starting from the shipped router {engine.prior.name!r}, which knows {known} of {len(engine.pool.experts)}"
        )
        return engine.prior.learned
    return None


def foresee_pilot(engine: Engine, reader: pa.RecordBatchReader, criteria: Criteria, how: Learning = Learning()) -> str:
    """Return in one line what the first wave of a pilot would be, and what all of it may take."""
    _check(engine, criteria, how)
    questions = find_questions(reader.read_all(), criteria)
    asked = AskedTable(engine, questions, criteria, _expected_costs(engine, questions), lambda _: None)
    money = _budget(asked, engine, criteria)
    experts = np.flatnonzero(np.isfinite(asked.costs).any(axis=0))
    price = float(mean_costs(asked.costs, experts)[experts].sum())
    k = min(questions_of_wave(price, money, 0), len(asked.rows))
    return (
        f"learning: a first wave of {k:,} questions to {len(experts)} experts for about {usd(k * price)}, then those"
        f" that are left, for at most two fifths of {usd(money)}; the rest buys answers"
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


def _expected_costs(engine: Engine, questions: Questions) -> Float64s:
    """Return the USD that an answer of each expert is expected to cost, and what it can cost at most, [2, n, e]."""
    criteria = Criteria(column="question", private_column="private", ask_column="ask")
    expected = engine.expect(questions.table.to_reader(), criteria)
    at = [expected.experts.index(expert.name) for expert in usable_experts(engine.pool)]
    return np.stack([expected.costs[:, at], expected.at_most[:, at]]).astype(np.float64)


def _added(engine: Engine, criteria: Criteria) -> pa.Schema:
    return answer_fields(engine.pool.experts, own_arguments=criteria.ask_column is not None)


def _name(questions: Questions, criteria: Criteria, how: Learning, answer_all: bool) -> str:
    """Return the name of the batch: the same questions under the same conditions."""
    digest = hashlib.sha256(repr((criteria, criteria.gold, how, answer_all)).encode())
    for text, gold in zip(questions.texts, questions.gold, strict=True):
        digest.update(f"{text}\0{gold}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _budget(asked: AskedTable, engine: Engine, criteria: Criteria) -> float:
    """Return the budget.

    Raises:
        UsageError: there is none.
    """
    if criteria.max_cost_usd is not None:
        return criteria.max_cost_usd
    name = engine.pool.default
    alone = float(np.nansum(asked.costs[:, asked.names.index(name)])) if name in asked.names else 0.0
    about = f" ({name} alone would cost about {usd(alone)})" if alone else ""
    raise UsageError(f"learning spends a budget: give max_cost_usd{about}")


class _Batch:
    """One batch while it is asked and learned from."""

    def __init__(
        self,
        engine: Engine,
        questions: Questions,
        criteria: Criteria,
        expected: Float64s,
        how: Learning,
        say: LineListener,
        start: Router | None,
    ) -> None:
        self._engine, self._how, self._criteria, self._say = engine, how, criteria, say
        self.notes: list[str] = []
        self._router = start
        self.asked = AskedTable(engine, questions, criteria, expected, say, self._judge)
        self._usd = _budget(self.asked, engine, criteria)
        self._rng = np.random.default_rng(how.seed)
        self._prior = self._start(questions)
        self.asked.evidence = replace(self.asked.evidence, offset=self._prior.offset)
        self._vectors = encode_questions(questions.texts, say)
        with_gold = [q for q, gold in enumerate(questions.gold) if gold is not None]
        self.order = sample_order(len(questions.texts), self._vectors, with_gold, self._rng)
        self._judged: list[tuple[float, float]] = []  # of answers with a gold: the judge's score, and ours
        self._judge_name: str | None = None
        self._plan: Plan | None = None
        self._theta = self._prior.mean

    @property
    def plan(self) -> Plan:
        """What was decided."""
        assert self._plan is not None
        return self._plan

    def run(self, *, answer_all: bool) -> None:
        """Run the pilot, and spend the rest."""
        asked = self.asked
        if not len(asked.rows):
            self._plan = run_pilot(asked, self._prior, self.order, 0.0, self._rng)
            return
        self._plan = plan = run_pilot(
            asked, self._prior, self.order, self._usd, self._rng, self._learn_deviations, all_of_it=not answer_all
        )
        self._theta = plan.skills.likely
        if len(plan.pilot) < LEAST_PILOT:
            self.notes.append(
                f"only {len(plan.pilot)} of {len(asked.rows)} questions were sent to several experts within"
                f" {usd(self._usd)}: experts are chosen by what their prices say"
            )
        if not answer_all:
            return
        if asked.comparable:
            plan.base = choose_base(asked, plan, self._usd, self._rng)
            spend_rest(asked, plan, self._prior, self._usd)
            if plan.base:
                self._theta = refit(asked, self._prior, plan.skills.likely)
        else:
            spend_on_predictions(asked, plan, rates(self._theta + asked.evidence.offset), self._usd)

    def scores(self) -> Float64s:
        """Return the probability that each answer bought is right [n, e]; NaN where nobody can say."""
        asked = self.asked
        if not asked.comparable:
            return asked.scores
        found = right(asked.evidence, self._posterior)
        return np.where(asked.evidence.bought, found.clip(0.0, 1.0), np.nan)

    @property
    def _posterior(self) -> Posterior:
        return posterior(self.asked.evidence, self._theta)

    def _start(self, questions: Questions) -> Prior:
        """Return what is known before the first answer."""
        asked = self.asked
        prior = price_prior(
            np.nan_to_num(mean_costs(asked.costs, np.arange(len(asked.names))), posinf=0.0), len(asked.rows)
        )
        known = [name for name in asked.names if self._router is not None and name in self._router.experts]
        if self._router is None or not known or not len(asked.rows):
            return prior
        predicted = self._router.predict(questions.texts).scores
        scores = np.full((len(asked.rows), len(asked.names)), np.nan)
        for name in known:
            scores[:, asked.names.index(name)] = predicted[:, self._router.experts.index(name)]
        return router_prior(prior, scores)

    def _learn_deviations(self, plan: Plan) -> None:
        """Learn from the pilot on which questions an expert is better than usual, and enter it into the evidence."""
        if self._vectors is None:
            return
        offset = deviate(self.asked.evidence, self._prior, self._vectors, plan.pilot, plan.skills.likely)
        self.asked.evidence = replace(self.asked.evidence, offset=offset)

    def _judge(
        self, rows: Sequence[int], names: Sequence[str], texts: Sequence[str], known: Sequence[float]
    ) -> Float64s:
        """Have the judge score answers; it is believed as long as it agrees with gold."""
        asked = self.asked
        usual = mean_costs(asked.costs, np.arange(len(asked.names)))
        judge_name = self._how.judge or asked.names[int(np.argmax(np.where(np.isfinite(usual), usual, -1.0)))]
        self._judge_name = judge_name
        questions = asked.questions.texts
        listed = list(zip(rows, names, texts, strict=True))
        private = asked.questions.table.column("private").to_pylist()
        local = self._engine.pool[judge_name].location == "local"
        shown = [i for i, (q, _, _) in enumerate(listed) if local or not private[q]]
        answers = [Answer(str(q), questions[q], name, text) for q, name, text in (listed[i] for i in shown)]
        left = replace(Criteria(), max_cost_usd=max(0.0, self._usd - asked.spent))
        said = judge(self._engine, answers, judge_name, left, self._how.rubric)
        asked.spent += said.list_cost_usd
        self._say(f"judged by {judge_name}: {len(answers):,} answers")
        scores = np.full(len(listed), np.nan)  # a remote judge sees no private answer
        scores[shown] = said.scores
        pairs = zip(scores.tolist(), known, strict=True)
        self._judged += [(ours, theirs) for ours, theirs in pairs if np.isfinite(theirs)]
        believed = agreement([one for one, _ in self._judged], [two for _, two in self._judged])
        if not believed.trusted:
            note = f"{judge_name} is no judge: it agrees with gold on {believed.share:.0%} of {believed.n:,} answers"
            self.notes = [each for each in self.notes if not each.startswith(judge_name)] + [note]
        return np.where(np.isfinite(known), known, scores if believed.trusted else np.nan)

    def rows(self, table: pa.Table) -> pa.Table:
        """Return the table with the best answer to each question, and all that was paid for it."""
        asked, prefix = self.asked, self._criteria.prefix
        expert, sure = self._best()
        added = _added(self._engine, self._criteria)
        with duckdb.connect() as db:
            found = _answers(asked, added)
            db.register("answers", found)
            n = len(table)
            db.register("rows", pa.table({"row": np.arange(n), "q": asked.questions.of_row}))
            db.register("best", pa.table({"q": np.arange(len(expert)), "e": expert, "sure": sure}))
            columns = ", ".join(f"a.{name}" for name in added.names if name not in _OWN)
            done = db.sql(_ROWS.format(columns=columns)).to_arrow_table()
        for field in added:
            table = table.append_column(prefix + field.name, done.column(field.name).cast(field.type))
        return table

    def _best(self) -> tuple[Int64s, Float64s]:
        """Return the expert of the answer of each question, -1 without one, and the probability that it is right."""
        asked, n = self.asked, len(self.asked.rows)
        skill = self._theta + asked.evidence.offset
        if asked.comparable:
            post = self._posterior
            best = post.best
            says_it = (asked.evidence.answers == best[:, None]) & (best[:, None] >= 0)
            other = asked.bought & ~says_it.any(axis=1, keepdims=True)
            sure = post.sure.clip(0.0, 1.0)
        else:
            level = np.nan_to_num(asked.scores, nan=-1.0)
            top = np.where(asked.bought, level, -2.0).max(axis=1, keepdims=True)
            says_it, other = asked.bought & (level == top), np.zeros_like(asked.bought)
            sure = np.where(top[:, 0] >= 0, top[:, 0], np.nan)
        candidates = says_it | other
        expert = np.where(candidates, skill, -np.inf).argmax(axis=1)
        none = ~candidates.any(axis=1)
        guess = rates(skill[np.arange(n), expert]) if n else np.zeros(0)
        return np.where(none, -1, expert), np.where(none, np.nan, np.where(np.isnan(sure), guess, sure))

    def advice(self, router: Router) -> Advice:
        """Return what budgets would bring on all questions, as a router that learned from the sample expects."""
        asked = self.asked
        usual = asked.usual_costs(self.plan.pilot)
        factor = usual / np.nanmean(asked.expected, axis=0)
        at = [router.experts.index(name) if name in router.experts else -1 for name in asked.names]
        predicted = router.predict(asked.questions.texts).scores.astype(np.float64)
        rate = rates(self._theta)
        known = zip(at, rate, strict=True)
        scores = np.column_stack([predicted[:, j] if j >= 0 else np.full(len(predicted), r) for j, r in known])
        costs = np.where(np.isfinite(asked.costs), asked.expected * factor, np.nan)
        return advise(asked.names, scores, costs, self.plan.skills.rates, usual)

    def findings(self) -> Findings:
        """Return what was learned."""
        expert, _ = self._best()
        found = find(self.asked, self.plan, expert, self._usd, self._engine.pool.default, self.notes)
        return replace(found, judged_by=self._judge_name)


# Columns that are not those of the chosen answer alone.
_OWN = ("predicted_score", "cost_usd", "list_cost_usd", "error")
# The first row of a question pays for it. A question without an answer has the error of its last request.
_ROWS = """
WITH paid AS (SELECT q, sum(cost_usd) AS cost_usd, sum(list_cost_usd) AS list_cost_usd,
                     arg_max(error, i) FILTER (error IS NOT NULL) AS error
              FROM answers GROUP BY q)
SELECT {columns}, b.sure AS predicted_score,
       CASE WHEN row_number() OVER (PARTITION BY r.q ORDER BY r.row) = 1 THEN coalesce(p.cost_usd, 0) ELSE 0 END
       AS cost_usd,
       coalesce(p.list_cost_usd, 0) AS list_cost_usd,
       CASE WHEN r.q >= 0 AND a.q IS NULL THEN coalesce(p.error, 'the budget does not reach this row') END AS error
FROM rows r LEFT JOIN best b ON r.q = b.q AND r.q >= 0 LEFT JOIN paid p ON r.q = p.q AND r.q >= 0
     LEFT JOIN answers a ON a.q = b.q AND a.e = b.e AND a.error IS NULL
ORDER BY r.row
"""


def _answers(asked: AskedTable, added: pa.Schema) -> pa.Table:
    """Return all answers of all waves, each with its number `i`."""
    empty = pa.schema([*added, pa.field("q", pa.int64()), pa.field("e", pa.int64())]).empty_table()
    found = pa.concat_tables([empty, *asked.answers], promote_options="permissive")
    return found.append_column("i", pa.array(range(len(found)), pa.int64()))
