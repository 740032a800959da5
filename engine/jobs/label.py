"""Label: every row of a table gets one of some labels, or those that apply, with a confidence.

The answer is restricted to the tokens of the labels, so each label has a probability. A model that prefers a label for
any text is corrected by its answers to the whole batch (`choice_calibration`). Knows nothing of files and terminals.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.batch.prompts import build_asks, check_columns, marked_private
from leeroo.engine.batch.write import check_names
from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.jobs.agreement import read_gold
from leeroo.engine.jobs.cascade import answer_in_cascade
from leeroo.engine.jobs.choice_calibration import calibrate_choices, probabilities
from leeroo.engine.jobs.proxy.answers import LabelRequest, answer_with_proxy
from leeroo.engine.jobs.proxy.findings import ProxyFindings
from leeroo.engine.money import DECIMALS
from leeroo.engine.schema import ASK, LABELLED
from leeroo.engine.tables.values import as_text, without_formulas

_INSTRUCTION = "Classify the text: choose the label that fits it best."
_APPLIES = ("No", "Yes")
# No label has more tokens than bytes. These are for quotes and a full stop that a model may put around it.
_AROUND_TOKENS = 8

Texts = Sequence[str | None]
# Answers texts, given their prompts and the choices for the answers.
AnswerTexts = Callable[[Texts, Texts, Sequence[str]], tuple[pa.Table, Float64s, ProxyFindings]]

# What is wrong with a setting of a file, in words.
_WRONG = {
    "labels": "labels is missing, or neither a list of names nor a table of descriptions by name",
    "instruction": "instruction is not a text",
    "example": "each [[example]] has a text and a label (or a list of labels), and nothing else",
}


class _Example(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    label: str | list[str]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    labels: list[str] | dict[str, str]
    instruction: str | None = None
    example: list[_Example] = []


@dataclass(frozen=True)
class Labels:
    """The labels to choose from.

    Attributes:
        names: At least two, or one where several may apply.
        descriptions: Of some of them.
        examples: Texts with their labels, shown before each row.
        instruction: What to do, in the place of our own words.
        several: True where any number of them may apply to a row.

    Raises:
        UsageError: a name is empty or there twice, or there are too few; or an example has another label.
    """

    names: tuple[str, ...]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[tuple[str, tuple[str, ...]], ...] = ()
    instruction: str | None = None
    several: bool = False

    def __post_init__(self) -> None:
        least = 1 if self.several else 2
        if len(self.names) < least:
            raise UsageError(f"labels are chosen from at least {least}, not from {len(self.names)}")
        for name in self.names:
            if not name.strip():
                raise UsageError("a label is empty")
            if self.names.count(name) > 1:
                raise UsageError(f"the label {name!r} is there twice")
        for _, given in self.examples:
            unknown = [name for name in given if name not in self.names]
            if unknown:
                there = ", ".join(map(repr, self.names))
                raise UsageError(f"an example has the label {unknown[0]!r}; the labels are: {there}")
            if len(given) != 1 and not self.several:
                raise UsageError(f"an example has {len(given)} labels; where several may apply, say so with several=")


def read_labels(given: str | Sequence[str] | Mapping[str, str] | Labels, *, several: bool = False) -> Labels:
    """Read labels: names with commas between them, a TOML file, a list of names, or names with descriptions.

    A file has ``labels`` (a list of names, or a table of descriptions by name), and may have ``instruction`` and
    ``[[example]]`` tables of ``text`` and ``label``.

    Raises:
        UsageError: the file cannot be read or has something wrong, or as `Labels`.

    """
    if isinstance(given, Labels):
        return given
    if isinstance(given, Mapping):
        return Labels(tuple(given), dict(given), several=several)
    if not isinstance(given, str):
        return Labels(tuple(given), several=several)
    if not given.casefold().endswith(".toml"):
        return Labels(tuple(name.strip() for name in given.split(",")), several=several)
    file = _read_file(given)
    examples = tuple(
        (each.text, (each.label,) if isinstance(each.label, str) else tuple(each.label)) for each in file.example
    )
    descriptions = file.labels if isinstance(file.labels, dict) else {}
    return Labels(tuple(file.labels), descriptions, examples, file.instruction, several)


def _read_file(name: str) -> _File:
    """Read a TOML file of labels; one from Windows may begin with a byte order mark."""
    try:
        return _File.model_validate(tomllib.loads(Path(name).read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(_wrong_file(name, error)) from error


def _wrong_file(name: str, error: Exception) -> str:
    """Say in one line why a file of labels is wrong."""
    if isinstance(error, ValidationError):
        where = [str(part) for part in error.errors()[0]["loc"]]
        return f"{name}: {_WRONG.get(where[0], f'there is no setting {where[0]!r}')}"
    if isinstance(error, OSError):
        return f"cannot read the labels in {name}: {error.strerror}"
    return f"{name} is not valid TOML: {error}".splitlines()[0]


@dataclass(frozen=True)
class Labelled:
    """The outcome of a job.

    Attributes:
        rows: The table with the columns of `LABELLED` after its own.
        proxy: What is known of the classifier that labelled some of them, or why there is none.
    """

    rows: pa.Table
    proxy: ProxyFindings


def label_rows(
    engine: Engine, reader: pa.RecordBatchReader, labels: Labels, criteria: Criteria, **how: Any
) -> pa.Table:
    """Label every row of a table, as `label_table`, and return the rows alone."""
    return label_table(engine, reader, labels, criteria, **how).rows


def label_table(
    engine: Engine,
    reader: pa.RecordBatchReader,
    labels: Labels,
    criteria: Criteria,
    *,
    calibrate: bool = True,
    enough: float | None = 0.8,
    chat: bool = True,
    gold: str | None = None,
) -> Labelled:
    """Label every row of a table.

    The cheapest expert labels everything. Where it is less sure than `enough`, the next more expensive one answers, as
    far as the budget goes (see `cascade`). In a large table a classifier learns from some rows and labels those of
    which it is sure (see `proxy`). A row without text has no label and costs nothing. Call it within
    `engine.delivery`, until the rows are where they should be.

    Args:
        engine: With the pool.
        reader: The rows; `criteria.column` is their text.
        labels: To choose from.
        criteria: Column, prefix, budget, whether a classifier may learn, and perhaps one expert for all.
        calibrate: Correct the preference of each expert for some labels.
        enough: Smallest confidence that needs no further expert; None for one expert only.
        chat: The prompt is a turn in a chat; otherwise text to be continued, for models that are no assistants.
        gold: The column with labels that people gave to some rows; the classifier learns from them too.

    Returns:
        The rows with the columns of `LABELLED` after their own; `label` is a list where several may apply. The
        confidence is the probability of the label, and of several that of the least sure decision.

    Raises:
        InputError: the column is missing, or a column of ours is there.
        PoolError, OutputError: as `Engine.answer`.

    """
    check_columns(reader.schema, criteria)
    check_names(reader.schema, LABELLED, criteria.prefix)
    if gold is not None and gold not in reader.schema.names:
        raise InputError(f"the input has no column {gold!r}; its columns are: {', '.join(reader.schema.names)}")
    table = reader.read_all()
    read = as_text(table.column(criteria.column)).to_pylist()
    texts = [text if text is not None and text.strip() else None for text in read]
    private = marked_private(table, criteria)
    wanted = None if gold is None else read_gold(table, gold)
    request = LabelRequest(texts, labels.names, None if private is None else private.to_pylist(), wanted)
    read_choices = ChoiceReader(calibrate=calibrate and not labels.several)

    def answer(texts: Texts, prompts: Texts, choices: Sequence[str]) -> tuple[pa.Table, Float64s, ProxyFindings]:
        requests = _requests(texts, prompts, choices, raw=not chat)
        if private is not None:
            each = pa.array(np.repeat(np.arange(len(table)), len(texts) // max(1, len(table))))
            requests = requests.append_column(criteria.private_column, private.take(each))

        def run(rows: Int64s, within: Criteria, seed: int | None) -> tuple[pa.Table, Float64s]:
            part = requests.take(pa.array(rows))
            part = part if seed is None else _with_seed(part, seed)
            read = read_choices.reader(choices)
            return answer_in_cascade(engine, part, within, read, enough=enough)

        if labels.several:
            everything = run(np.arange(len(texts)), criteria, None)
            return *everything, ProxyFindings(len(set(texts)), "several labels may apply to a row")
        return answer_with_proxy(engine, request, criteria, run)

    columns, found = (_of_several if labels.several else _one_of)(answer, texts, labels)
    for column, name in zip(columns, LABELLED.names, strict=True):
        table = table.append_column(criteria.prefix + name, column)
    return Labelled(table, found)


def to_check(labelled: pa.Table, rows: int, prefix: str = "", seed: int = 0) -> pa.Table:
    """Return some rows for people to check: half of them random, half those with the least confidence.

    A text that a spreadsheet would take for a formula has an apostrophe before it.

    Returns:
        The rows, with `drawn` ('by chance' or 'least sure') and an empty column `correct_label` after their own. Those
        drawn by chance show the quality of the labels; the others are where mistakes are likeliest.

    """
    n = min(rows, len(labelled))
    order = np.random.default_rng(seed).permutation(len(labelled))
    by_chance = np.sort(order[: (n + 1) // 2])
    sure = np.nan_to_num(labelled.column(prefix + "confidence").cast(pa.float64()).to_numpy())
    least = [i for i in np.argsort(sure, kind="stable").tolist() if i not in set(by_chance.tolist())][: n // 2]
    chosen = labelled.take(pa.array(np.concatenate([by_chance, np.array(least, np.int64)])))
    drawn = ["by chance"] * len(by_chance) + ["least sure"] * len(least)
    chosen = without_formulas(chosen)
    return chosen.append_column("drawn", pa.array(drawn, pa.string())).append_column(
        "correct_label", pa.nulls(len(chosen), pa.string())
    )


def _one_of(answer: AnswerTexts, texts: Texts, labels: Labels) -> tuple[list[pa.Array], ProxyFindings]:
    """Find one label for each text: columns of `LABELLED`, and what is known of the classifier."""
    head = _head(labels, "Label")
    prompts = [None if text is None else f"{head}Text: {text}\nLabel:" for text in texts]
    answers, chances, found = answer(texts, prompts, labels.names)
    there = np.isfinite(chances).all(axis=1)
    best = np.where(there, np.nan_to_num(chances).argmax(axis=1), -1)
    names = [labels.names[i] if i >= 0 else None for i in best.tolist()]
    sure = pa.array(chances.max(axis=1), from_pandas=True)
    return [pa.array(names, pa.string()), sure, *(answers.column(name) for name in LABELLED.names[2:])], found


def _of_several(answer: AnswerTexts, texts: Texts, labels: Labels) -> tuple[list[pa.Array], ProxyFindings]:
    """Decide on every label for each text: columns of `LABELLED`, and why no classifier learned."""
    n, k = len(texts), len(labels.names)
    head = _head(labels, "Labels that apply")
    shown = [
        None if text is None else f"{head}Text: {text}\n{_applies(name, labels)}"
        for text in texts
        for name in labels.names
    ]
    questions = [None if text is None else f"{text}\n{name}?" for text in texts for name in labels.names]
    answers, chances, proxy = answer(questions, shown, _APPLIES)
    yes = chances[:, 1].reshape(n, k)
    sure = np.maximum(yes, 1 - yes).min(axis=1)
    found = [
        None if np.isnan(row).any() else [name for name, p in zip(labels.names, row.tolist(), strict=True) if p > 0.5]
        for row in yes
    ]
    each = {name: answers.column(name).to_numpy().reshape(n, k).sum(axis=1) for name in ("cost_usd", "list_cost_usd")}
    errors = np.array(answers.column("error").to_pylist(), object).reshape(n, k)
    experts = np.array(answers.column("expert").to_pylist(), object).reshape(n, k)
    return [
        pa.array(found, pa.list_(pa.string())),
        pa.array(sure, from_pandas=True),
        pa.array([", ".join(dict.fromkeys(filter(None, row))) or None for row in experts], pa.string()),
        pa.array(each["cost_usd"].round(DECIMALS)),
        pa.array(each["list_cost_usd"].round(DECIMALS)),
        pa.array([next(filter(None, row), None) for row in errors], pa.string()),
    ], proxy


def _requests(questions: Texts, prompts: Texts, choices: Sequence[str], *, raw: bool) -> pa.Table:
    """Return a table for the engine: texts with their prompts, and the choices for the answers."""
    n = len(questions)
    longest = max(len(choice.encode()) for choice in choices) + _AROUND_TOKENS
    given = {
        "prompt": pa.array(prompts, pa.string()),
        "raw": pa.array([raw] * n),
        "choices": pa.array([list(choices)] * n, pa.list_(pa.string())),
        "max_tokens": pa.array([longest] * n, pa.int32()),
    }
    return pa.table({"question": pa.array(questions, pa.string()), "ask": build_asks(n, given)})


def _head(labels: Labels, word: str) -> str:
    """Return the text before each row's own: instruction, labels and examples; the same for all rows."""
    lines = [labels.instruction or _INSTRUCTION, "", "Labels:"]
    lines += [
        f"- {name}: {labels.descriptions[name]}" if labels.descriptions.get(name) else f"- {name}"
        for name in labels.names
    ]
    for text, given in labels.examples:
        lines += ["", f"Text: {text}", f"{word}: {', '.join(given)}"]
    return "\n".join([*lines, "", ""])


def _applies(name: str, labels: Labels) -> str:
    about = labels.descriptions.get(name)
    return f"Does the label '{name}'{f' ({about})' if about else ''} apply to the text? Answer Yes or No.\nAnswer:"


def _with_seed(requests: pa.Table, seed: int) -> pa.Table:
    """Return requests whose answers are new ones."""
    ask = requests.column("ask").combine_chunks()
    seeds = pa.array(np.full(len(requests), seed), ASK.field("seed").type)
    columns = [seeds if field.name == "seed" else ask.field(field.name) for field in ASK]
    at = requests.column_names.index("ask")
    return requests.set_column(at, "ask", pa.StructArray.from_arrays(columns, fields=list(ASK)))


class ChoiceReader:
    """Reads probabilities of choices, corrected by all answers of the expert so far.

    A table may be answered in several runs. The last of them may be too small to show a preference.
    """

    def __init__(self, *, calibrate: bool) -> None:
        self._calibrate = calibrate
        self._before: dict[str | None, Float64s] = {}

    def reader(self, choices: Sequence[str]) -> Callable[[pa.Table], Float64s]:
        """Return what reads the probabilities of each choice, [n, k], from answers; NaN without an answer.

        An answer is certain where the expert gives no probabilities, or gives none to what it answered.
        """
        return lambda answers: self._read(answers, choices)

    def _read(self, answers: pa.Table, choices: Sequence[str]) -> Float64s:
        position = {choice: i for i, choice in enumerate(choices)}
        at = np.array([position.get(answer, -1) for answer in answers.column("answer").to_pylist()], np.int64)
        chances = np.full((len(answers), len(choices)), np.nan)
        chances[at >= 0] = np.eye(len(choices))[at[at >= 0]]
        given = probabilities(answers.column("choice_logprobs").to_pylist(), len(choices))
        known = at >= 0
        known[known] = given[known, at[known]] > 0
        chances[known] = self._corrected(answers, given[known]) if self._calibrate else given[known]
        return chances

    def _corrected(self, answers: pa.Table, given: Float64s) -> Float64s:
        expert = next(filter(None, answers.column("expert").to_pylist()), None)
        before = self._before.get(expert, given[:0])
        self._before[expert] = np.concatenate([before, given])
        return calibrate_choices(self._before[expert])[len(before) :]
