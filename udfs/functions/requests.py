"""Requests of the functions to the engine: questions with their arguments in, one value for each out.

Knows nothing of DuckDB, and nothing of earlier questions of the connection.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.backends.decisions import read_decisions
from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.layout import fill_in
from leeroo.engine.images.marks import place_of
from leeroo.engine.jobs.extract import extract
from leeroo.engine.jobs.proxy.answers import LabelRequest, answer_with_proxy
from leeroo.engine.jobs.proxy.findings import summarize
from leeroo.engine.jobs.proxy.learning import LEAST_TEXTS
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.jobs.records.decided import decide
from leeroo.engine.jobs.records.rows import read_record
from leeroo.engine.jobs.records.sql_types import read_spec
from leeroo.engine.jobs.semantic.dedupe import Dedupe
from leeroo.engine.jobs.semantic.join import Join
from leeroo.engine.jobs.semantic.rank import Rank
from leeroo.engine.jobs.solve.solve import SolveLimits, foresee, solve
from leeroo.engine.pool import Pool
from leeroo.engine.schema import ANSWERS, ASK, SQL_ROUTE, SQL_SCORES, SQL_SOLUTION


class Arguments(NamedTuple):
    """The arguments of a call besides its question; None leaves one to the expert that is chosen."""

    expert: str | None = None
    system: str | None = None
    private: bool = False  # it does not leave local experts
    max_tokens: int | None = None
    temperature: float | None = None  # above 0
    choices: tuple[str, ...] | None = None  # the answer is one of these
    labels: bool = False  # they are labels of the text, which a classifier may learn
    seed: int | None = None
    json_schema: str | None = None  # the answer is JSON that is valid under this
    record: str | None = None  # the fields of this record, whose JSON schema that is
    decisions: str | None = None  # the answer is a choice for each of these
    scale: tuple[float | None, ...] | None = (
        None  # the place of each choice, from 0 to 1: the answer is the expected one
    )
    task: str | None = None  # the question is a JSON object, whose fields this text names
    pictures: tuple[str, ...] = ()  # those of these fields that are references to images
    limits: SolveLimits | None = None  # of leeroo_solve
    model: str | None = None  # the expert that embeds
    operation: Join | Dedupe | Rank | None = None  # the question is a JSON list of the texts on each side of it


class Group(NamedTuple):
    """All but the question that a value depends on."""

    arguments: Arguments
    criteria: Criteria

    @property
    def sampled(self) -> bool:
        """True where every row wants a value of its own, however often its question occurs."""
        return self.arguments.temperature is not None


Questions = Sequence[tuple[Group, list[str]]]  # the questions of each group
Answerer = Callable[[Engine, Questions, Criteria], pa.ChunkedArray]
Estimator = Callable[[Engine, Questions, Criteria], Estimate]


def answer_type(pool: Pool) -> pa.StructType:
    """Return the struct of `leeroo`: the answers columns, as the engine appends them for this pool."""
    replayed = any(capabilities(expert).recorded for expert in pool.experts)
    return pa.struct([*ANSWERS, *([pa.field("recorded_score", pa.float64())] if replayed else [])])


def known_type(pool: Pool) -> pa.StructType:
    """Return the struct in which answers are kept: `answer_type`, and the confidence of a choice."""
    return pa.struct([*answer_type(pool), pa.field("confidence", pa.float64())])


def answer(engine: Engine, questions: Questions, criteria: Criteria) -> pa.ChunkedArray:
    """Have all answered as one batch: structs of `known_type`; tables of labels may be learned (see `jobs.proxy`)."""
    with_proxy = [_has_proxy(group, texts, criteria) for group, texts in questions]
    if not any(with_proxy):
        return _answer(engine, questions, criteria)
    parts: dict[int, pa.ChunkedArray] = {}
    open_, spent = sum(len(texts) for _, texts in questions), 0.0
    with engine.delivery():
        for i, (group, texts) in enumerate(questions):
            left = left_usd(criteria, spent)
            within = replace(criteria, max_cost_usd=None if left is None else left * len(texts) / open_)
            labelled = _label(engine, group, texts, within) if with_proxy[i] else None
            parts[i] = _answer(engine, [(group, texts)], within) if labelled is None else labelled
            spent += pc.sum(pc.struct_field(parts[i], "cost_usd")).as_py() or 0.0
            open_ -= len(texts)
    return pa.chunked_array([chunk for part in parts.values() for chunk in part.chunks], known_type(engine.pool))


def _answer(engine: Engine, questions: Questions, criteria: Criteria) -> pa.ChunkedArray:
    wanted = _with_columns(criteria)
    if criteria.learn:
        from leeroo.engine.jobs.learn import learn  # few statements learn, and it takes a moment to import

        answering = learn.answer(engine, _table(questions), wanted)
    else:
        answering = engine.answer(_table(questions), wanted)
    with answering as rows:
        answered = rows.read_all()
    values = _structs(answered.to_reader(), known_type(engine.pool))
    return _in_forms(questions, values, answered.column("choice_logprobs"))


def _has_proxy(group: Group, texts: Sequence[str], criteria: Criteria) -> bool:
    return group.arguments.labels and len(texts) >= LEAST_TEXTS and criteria.proxy is not False


def label_task(labels: Sequence[str]) -> str:
    """Return what stands before a text that gets one of some labels."""
    return f"Classify the text as one of: {', '.join(labels)}.\n\nText: "


def _label(engine: Engine, group: Group, questions: Sequence[str], criteria: Criteria) -> pa.ChunkedArray:
    """Have texts labelled by experts, and by a classifier that learns from them: structs of `known_type`."""
    arguments = group.arguments
    names = arguments.choices or ()
    place = {name: i for i, name in enumerate(names)}

    def run(rows: Int64s, within: Criteria, seed: int | None) -> tuple[pa.Table, Float64s]:
        some = [(group._replace(arguments=arguments._replace(seed=seed)), [questions[int(i)] for i in rows])]
        answers = engine.answer_table(_table(some), _with_columns(within))
        at = np.array([place.get(each, -1) for each in answers.column("answer").to_pylist()], np.int64)
        chances = np.full((len(rows), len(names)), np.nan)
        chances[at >= 0] = np.eye(len(names))[at[at >= 0]]
        return answers, chances

    task = label_task(names)
    request = LabelRequest([question.removeprefix(task) for question in questions], names)
    answers, _, found = answer_with_proxy(engine, request, criteria, run)
    logging.getLogger("leeroo").info("leeroo_label: %s", summarize(found))
    return _structs(answers.to_reader(), known_type(engine.pool))


def route(engine: Engine, questions: Questions, criteria: Criteria) -> pa.ChunkedArray:
    """Have an expert chosen for all as one batch: structs of `SQL_ROUTE`; nothing is generated."""
    return _structs(engine.route(_table(questions), _with_columns(criteria)), SQL_ROUTE)


def score(engine: Engine, questions: Questions, _criteria: Criteria) -> pa.ChunkedArray:
    """Predict the score of every expert for each: maps of `SQL_SCORES`."""
    rows = engine.scores([_text(group, question) for group, texts in questions for question in texts])
    return pa.chunked_array([pa.array([list(row.items()) for row in rows], SQL_SCORES)])


def solve_all(engine: Engine, questions: Questions, criteria: Criteria) -> pa.ChunkedArray:
    """Have all solved step by step, a wave at a time: structs of `SQL_SOLUTION`."""
    parts, spent = [], 0.0
    with engine.delivery():
        for group, texts in questions:
            left = replace(criteria, max_cost_usd=left_usd(criteria, spent))
            private = [group.arguments.private] * len(texts)
            rows = solve(engine, texts, left, group.arguments.limits or SolveLimits(), private).rows
            spent += sum(rows.column("cost_usd").to_pylist())
            parts += _structs(rows.to_reader(), SQL_SOLUTION).chunks
    return pa.chunked_array(parts, SQL_SOLUTION)


def estimate_solving(engine: Engine, questions: Questions, criteria: Criteria) -> Estimate:
    """Estimate what solving all would take, as far as it can be seen beforehand."""
    limits = [group.arguments.limits for group, _ in questions]
    return foresee(engine, [text for _, texts in questions for text in texts], criteria, limits[0] or SolveLimits())


def estimate_answers(engine: Engine, questions: Questions, criteria: Criteria) -> Estimate:
    """Estimate what having all answered as one batch would take, and what learning would try out first."""
    found = engine.explain(_table(questions), _with_columns(criteria))
    if not criteria.learn:
        return found
    from leeroo.engine.jobs.learn.learn import foresee_pilot

    batches = _batches_that_learn(questions, criteria)
    lines = tuple(foresee_pilot(engine, _table(batch), _with_columns(within)) for batch, within in batches)
    return replace(found, learning=lines)


def _batches_that_learn(questions: Questions, criteria: Criteria) -> list[tuple[Questions, Criteria]]:
    """Return what learns together, and its budget: all, or where some have a proxy each of the others by itself."""
    if not any(_has_proxy(group, texts, criteria) for group, texts in questions):
        return [(questions, criteria)]
    total, usd = sum(len(texts) for _, texts in questions), criteria.max_cost_usd
    return [
        ([(group, texts)], replace(criteria, max_cost_usd=None if usd is None else usd * len(texts) / total))
        for group, texts in questions
        if not _has_proxy(group, texts, criteria)
    ]


def _with_columns(criteria: Criteria) -> Criteria:
    """Return the criteria for a table of `_table`."""
    return replace(criteria, ask_column="ask", private_column="private")


def _table(questions: Questions) -> pa.RecordBatchReader:
    counts = [len(texts) for _, texts in questions]
    arguments = pa.array([group.arguments._asdict() for group, _ in questions], pa.struct(list(ASK)))
    each = pa.array(np.repeat(np.arange(len(questions)), counts))
    columns = dict(zip(ASK.names, arguments.take(each).flatten(), strict=True))
    filled_in: list[str] = []
    fields: list[str | None] = []
    images: list[list[str] | None] = []
    for group, texts in questions:
        if group.arguments.task is None:
            filled_in += texts
            fields += itertools.repeat(None, len(texts))
            images += itertools.repeat(None, len(texts))
        for text in texts if group.arguments.task is not None else ():
            filled, named, shown = _fill_in(group.arguments, text)
            filled_in.append(filled)
            fields.append(named)
            images.append(shown)
    columns["fields"], columns["images"] = (
        pa.array(given, ASK.field(name).type) for name, given in (("fields", fields), ("images", images))
    )
    ask = pa.StructArray.from_arrays(list(columns.values()), fields=list(ASK))
    private = np.repeat(np.array([group.arguments.private for group, _ in questions], bool), counts)
    return pa.table({"question": pa.array(filled_in, pa.string()), "private": private, "ask": ask}).to_reader()


def _in_forms(questions: Questions, values: pa.ChunkedArray, scores: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the same answers; those of a form hold nothing but JSON of it, or the reason why there is none."""
    arguments = [group.arguments for group, texts in questions for _ in texts]
    formed = [i for i, each in enumerate(arguments) if each.json_schema or each.decisions or each.scale]
    if not formed:
        return values
    columns = dict(zip(values.type.names, values.combine_chunks().flatten(), strict=True))
    said, ends, errors = (columns[name].to_pylist() for name in ("answer", "finish_reason", "error"))
    known = dict(zip(formed, scores.take(pa.array(formed)).to_pylist(), strict=True))
    for i in formed:
        if said[i] is not None:
            said[i], errors[i] = _in_form(arguments[i], said[i], ends[i], known[i])
    columns |= {"answer": pa.array(said, pa.string()), "error": pa.array(errors, pa.string())}
    return pa.chunked_array([pa.StructArray.from_arrays(list(columns.values()), fields=list(values.type))])


def _in_form(
    arguments: Arguments, answer: str, ended: str | None, scores: list[float | None] | None
) -> tuple[str | None, str | None]:
    """Return an answer in its form, or the reason why there is none."""
    if arguments.scale is not None:
        place = _place(arguments, answer, scores)
        return None if place is None else repr(place), None
    if arguments.decisions is not None:
        return json.dumps(decide(read_decisions(arguments.decisions), answer, scores), ensure_ascii=False), None
    if arguments.record is None:
        return extract(answer, arguments.json_schema or "{}", ended)
    values, why = read_record(read_spec(arguments.record), answer, ended)
    return None if why else json.dumps(values, default=str, ensure_ascii=False), why


def _place(arguments: Arguments, answer: str, scores: Sequence[float | None] | None) -> float | None:
    """Return the expected place on a scale, among the choices that have one; None where the answer has none."""
    assert arguments.choices is not None
    assert arguments.scale is not None
    places = dict(zip(arguments.choices, arguments.scale, strict=True))
    if places[answer] is None or scores is None or None in scores:
        return places[answer]
    there = [i for i, place in enumerate(arguments.scale) if place is not None]
    weights = np.exp(np.array(scores, np.float64)[there] - max(score for score in scores if score is not None))
    return float(weights @ np.array(arguments.scale, np.float64)[there] / weights.sum())


def _text(group: Group, question: str) -> str:
    return _fill_in(group.arguments, question)[0]


def _fill_in(arguments: Arguments, question: str) -> tuple[str, str | None, list[str] | None]:
    """Return the text of a question, its fields as JSON, and the references of its images."""
    task, pictures = arguments.task, arguments.pictures
    if task is None:
        return question, None, None
    fields = json.loads(question)
    shown = {**fields, **{name: place_of(number) for number, name in enumerate(pictures)}}
    written = json.dumps(shown, ensure_ascii=False) if pictures else question
    return fill_in(task, shown), written, [fields[name] for name in pictures] or None


def _structs(reader: pa.RecordBatchReader, kind: pa.StructType) -> pa.ChunkedArray:
    parts = [
        pa.StructArray.from_arrays([batch.column(field.name) for field in kind], fields=list(kind)) for batch in reader
    ]
    return pa.chunked_array(parts, kind)
