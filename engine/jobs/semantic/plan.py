"""Plan: what semantic operations would take - candidates, decisions, requests and money. Nothing is generated.

Candidates are chosen for it where the encoder runs here. Where an API embeds they are not known, and any pairs stand
for them: as many as there can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.jobs.semantic.decisions import Decisions, Found, Operation, Vectors, decision_table
from leeroo.engine.jobs.semantic.dedupe import Dedupe
from leeroo.engine.jobs.semantic.embed import embed, embedder_of, estimate_embedding
from leeroo.engine.jobs.semantic.estimates import combine, scale
from leeroo.engine.jobs.semantic.join import Join, side_texts
from leeroo.engine.jobs.semantic.neighbours import Pairs
from leeroo.engine.jobs.semantic.rank import Rank

Work = tuple[Join | Dedupe | Rank, list[list[str]]]


def operation_of(work: Work) -> Operation[pa.Table]:
    """Return the operation of some work, not begun yet."""
    job, inputs = work
    return job.run(inputs[0], inputs[1]) if isinstance(job, Join) else job.run(inputs[0])


def most_requests(work: Work) -> int:
    """Return the most decisions that some work takes, before any vector is known."""
    job, inputs = work
    sizes = [len(texts) for texts in inputs]
    if isinstance(job, Rank):
        return job.requests(sizes[0])
    if isinstance(job, Dedupe):
        return min(sizes[0] * job.k, sizes[0] * (sizes[0] - 1) // 2)
    chosen = min(sum(sizes) * job.k, sizes[0] * sizes[1])
    return chosen + job.sampled(chosen, sizes[0] * sizes[1] - chosen)


def foresee(engine: Engine, works: Sequence[Work], criteria: Criteria) -> Estimate:
    """Estimate what some operations would take together."""
    return combine(_foresee(engine, work, criteria) for work in works)


def _foresee(engine: Engine, work: Work, criteria: Criteria) -> Estimate:
    job, inputs = work
    if isinstance(job, Join):
        return _foresee_join(engine, job, inputs[0], inputs[1], criteria)
    if isinstance(job, Dedupe):
        return _foresee_dedupe(engine, job, inputs[0], criteria)
    return _foresee_rank(engine, job, inputs[0], criteria)


def _foresee_join(engine: Engine, job: Join, left: list[str], right: list[str], criteria: Criteria) -> Estimate:
    job.check(len(left), len(right))
    total = len(left) * len(right)
    known = embedder_of(engine, job.model).encoder is not None
    if known:
        pairs, weights = _run_here(engine, job.choose_pairs(left, right), criteria)
        chosen, sampled = int((weights == 0).sum()), int((weights > 0).sum())
    else:
        chosen = min((len(left) + len(right)) * job.k, total)
        sampled = job.sampled(chosen, total - chosen)
        pairs = _any_pairs(len(left), len(right), chosen + sampled)
    made = _explain_embedding(engine, side_texts(left, right), job.model, criteria)
    decided = _explain(engine, job.decisions(left, right, pairs), criteria)
    line = (
        f"join {len(left):,} x {len(right):,} different rows: {'' if known else 'up to '}{chosen:,} candidates"
        f" (k = {job.k}), {sampled:,} other pairs for the recall; {chosen + sampled:,} decisions instead of {total:,}"
    )
    return _with_line(combine([made, decided]), line)


def _foresee_dedupe(engine: Engine, job: Dedupe, texts: list[str], criteria: Criteria) -> Estimate:
    job.check(len(texts))
    total = len(texts) * (len(texts) - 1) // 2
    known = embedder_of(engine, job.model).encoder is not None
    if known:
        pairs = _run_here(engine, job.choose_pairs(texts), criteria)
    else:
        found = _any_pairs(len(texts), len(texts), 2 * min(len(texts) * job.k, total) + len(texts))
        pairs = found.take(found.left < found.right)
    made = _explain_embedding(engine, texts, job.model, criteria)
    decided = _explain(engine, job.decisions(texts, pairs), criteria)
    line = (
        f"dedupe {len(texts):,} different rows: {'' if known else 'up to '}{len(pairs.left):,} candidate pairs"
        f" (similarity {job.similarity:g}, k = {job.k}); {len(pairs.left):,} decisions instead of {total:,}"
    )
    return _with_line(combine([made, decided]), line)


def _foresee_rank(engine: Engine, job: Rank, texts: list[str], criteria: Criteria) -> Estimate:
    rounds, total = job.rounds(len(texts)), job.requests(len(texts))
    if not total:
        return _with_line(combine([]), f"rank {len(texts):,} different rows: nothing to decide")
    first = _explain(engine, job.first_round(texts), criteria)
    line = (
        f"the best {min(job.k, len(texts)):,} of {len(texts):,} different rows: rounds of"
        f" {', '.join(f'{n:,}' for n in rounds)} requests, then up to {len(rounds)} for each further place;"
        f" {total:,} in all"
    )
    return _with_line(scale(first, total / rounds[0]), line)


def _run_here(engine: Engine, operation: Operation[Found], criteria: Criteria) -> Found:
    """Run an operation that wants vectors alone, which an encoder gives here."""
    given: object = None
    while True:
        try:
            wanted = operation.send(given)
        except StopIteration as end:
            found: Found = end.value
            return found
        assert isinstance(wanted, Vectors)
        given = embed(engine, wanted.texts, wanted.model, criteria, private=wanted.private)


def _explain_embedding(engine: Engine, texts: Sequence[str], model: str | None, criteria: Criteria) -> Estimate:
    """Estimate what the vectors take; those of an encoder are no requests."""
    found = estimate_embedding(engine, texts, model, criteria)
    return found if found.parts else replace(found, rows=0, prompts=0)


def _any_pairs(left: int, right: int, count: int) -> Pairs:
    """Return different pairs that are spread over all there are."""
    total = left * right
    drawn = np.unique(np.linspace(0, max(total - 1, 0), min(count, total)).astype(np.int64))
    return Pairs(drawn // right, drawn % right, np.zeros(len(drawn), np.float32))


def _explain(engine: Engine, decisions: Decisions, criteria: Criteria) -> Estimate:
    if not len(decisions.questions):
        return combine([])
    own = replace(criteria, ask_column="ask", private_column="private")
    return engine.explain(decision_table([decisions]).to_reader(), own)


def _with_line(estimate: Estimate, line: str) -> Estimate:
    return replace(estimate, plan=(line, *estimate.plan))
