"""Questions in several parts, solved step by step and asked directly: waves, cost, and how many parts come out right.

    python bench/jobs/solve.py [--rows 200] [--local] [--out FOLDER]

Without --local the experts are replayed. What each answers was recorded beforehand for every step with every answer
that the steps before it may have: `cheap` and `strong` are right on a part with a chance that depends on how hard it
is, drawn once, and the same draw holds where the whole question is asked directly. So what differs is who is asked
what: nobody is made cleverer by splitting, and a wrong part spoils those that need it either way. A router learns from
other questions of the same kinds. With --local the embedded local pool answers for real.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.jobs.solve_questions import Part, Question, questions
from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.jobs.solve.decompose import SolveLimits, is_complex, plan_prompt
from leeroo.engine.jobs.solve.solve import Solved, SolveRow, solve
from leeroo.engine.jobs.solve.split import SolveStep
from leeroo.engine.jobs.solve.waves import StepResult
from leeroo.engine.jobs.verify import score
from leeroo.engine.orchestrator.training.learn import train
from leeroo.engine.schema import OUTCOMES, QUERIES

# How likely each is right on a part, by how hard it is, and USD for a million tokens in and out.
RIGHT = {"cheap": {1: 0.95, 2: 0.7, 3: 0.35}, "strong": {1: 0.99, 2: 0.97, 3: 0.9}}
PRICES = {"cheap": (0.2, 0.4), "strong": (10.0, 30.0)}
# How likely a plan can be followed.
PLANS = {"cheap": 0.3, "strong": 0.95}
_TOKENS_A_PART = 8
_MARKED = re.compile(r"^\s*(?:\(?([a-dA-D1-4])[.):])\s*", re.MULTILINE)

Record = dict[tuple[str, str], dict[str, tuple[str, float]]]  # question and prompt: of each expert answer and score


def main() -> None:
    """Solve and ask, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    made = questions(asked.rows, seed=0)
    kinds = {kind: sum(q.kind == kind for q in made) for kind in ("simple", "marked", "in turn", "prose")}
    print(
        f"{len(made):,} questions with {sum(len(_scored_parts(q)) for q in made):,} parts that are asked for: {kinds}\n"
    )
    print(
        "| way | parts right | wholly right | waves | asked | USD per 1,000 | seconds |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        out = asked.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        solved = local(made, out) if asked.local else replay(made, out)
    print(f"\n{describe_splits(made, solved)}")


def replay(made: Sequence[Question], out: Path) -> Solved:
    """Replay recorded answers; return the routed solution."""
    others = [q for q in questions(300, seed=1) if q.text not in {own.text for own in made}]
    write_record(record_steps(others), out / "learn", split="train", plans=False)
    write_record(record_steps(made), out / "steps", split="test")
    write_record(record_direct(made), out / "direct", split="test")
    router = train([out / "learn"])
    router.save(out / "router")
    for name in ("steps", "direct"):
        (out / f"{name}.toml").write_text("".join(_entry(expert, out / name) for expert in PRICES))
    limits = SolveLimits(planner="strong")

    def both(way: str, criteria: Criteria) -> tuple[float, Solved]:
        with open_engine(out / "direct.toml", out / "router", out / f"direct {way}") as engine:
            usd = say(f"{way}, direct", made, *ask(engine, made, criteria))
        with open_engine(out / "steps.toml", out / "router", out / f"steps {way}") as engine:
            solved, seconds = run(engine, made, criteria, limits)
        say_solved(f"{way}, solved", made, solved, seconds)
        return usd, solved

    both("cheap", Criteria(expert="cheap"))
    usd, solved = both("strong", Criteria(expert="strong"))
    for share in (0.5, 1, 2, 3):
        _, solved = both(f"routed, {share:g} x strong's direct cost", Criteria(max_cost_usd=share * usd))
    return solved


def local(made: Sequence[Question], out: Path) -> Solved:
    """Have the embedded local pool answer; what it solves."""
    with open_engine(store=out / "store") as engine:
        solved, seconds = run(engine, made, Criteria(), SolveLimits(steps=4))
        say_solved("solved", made, solved, seconds)
        say("direct", made, *ask(engine, made, Criteria()))
    return solved


def run(engine: Engine, made: Sequence[Question], criteria: Criteria, limits: SolveLimits) -> tuple[Solved, float]:
    """Solve; with the seconds that it took."""
    started = time.perf_counter()
    with engine.delivery():
        solved = solve(engine, [q.text for q in made], criteria, limits)
    return solved, time.perf_counter() - started


def ask(engine: Engine, made: Sequence[Question], criteria: Criteria) -> tuple[list[list[str | None]], float, float]:
    """Ask directly: what is said of each part, USD, seconds."""
    started = time.perf_counter()
    table = pa.table({"question": [q.text for q in made]})
    answers = engine.answer_table(table.to_reader(), criteria)
    seconds = time.perf_counter() - started
    texts = answers.column("answer").to_pylist()
    said = [_of_parts(text, q) for text, q in zip(texts, made, strict=True)]
    return said, sum(answers.column("cost_usd").to_pylist()), seconds


def _of_parts(text: str | None, question: Question) -> list[str | None]:
    """Return the answer to each part: its marked text, else a line; the whole where the numbers differ."""
    n = len(_scored_parts(question))
    if text is None or n == 1:
        return [text] * n
    marked = _MARKED.split(text)[2::2]
    lines = [line for line in text.splitlines() if line.strip()]
    for cut in (marked, lines):
        if len(cut) == n:
            return list(cut)
    return [text] * n


def say(
    way: str, made: Sequence[Question], said: Sequence[Sequence[str | None]], usd: float, seconds: float,
    waves: int = 1, asked: int | None = None,
) -> float:  # fmt: skip
    """Print a line of the table; gives the cost back."""
    scores = [_scores(question, each) for question, each in zip(made, said, strict=True)]
    parts = [score for each in scores for score in each]
    whole = sum(all(each) for each in scores) / len(scores)
    cells = f"{sum(parts) / len(parts):.1%} | {whole:.1%} | {waves} | {asked or len(made):,}"
    print(f"| {way} | {cells} | {usd / len(made) * 1e3:.4f} | {seconds:.1f} |", flush=True)
    return usd


def say_solved(way: str, made: Sequence[Question], solved: Solved, seconds: float) -> None:
    """Print a line for what was solved: of each part the answer of its step, of prose the one answer."""
    said = []
    for question, row in zip(made, solved.rows.to_pylist(), strict=True):
        own = [step["answer"] for step in row["steps"]]
        several = question.kind in ("marked", "in turn") and len(own) == len(question.parts)
        said.append(own if several else _of_parts(row["answer"], question))
    usd = sum(solved.rows.column("cost_usd").to_pylist())
    say(way, made, said, usd, seconds, len(solved.waves), sum(wave.asked for wave in solved.waves))


def describe_splits(made: Sequence[Question], solved: Solved) -> str:
    """Describe how many questions were split into their parts."""
    lengths = [len(steps) for steps in solved.rows.column("steps").to_pylist()]
    of = {q.kind: [n for n, own in zip(lengths, made, strict=True) if own.kind == q.kind] for q in made}
    planned = [q for q in made if q.kind == "simple" and is_complex(q.text)]
    split = sum(n == len(q.parts) for n, q in zip(lengths, made, strict=True) if q.kind in ("marked", "in turn"))
    several = len(of["marked"]) + len(of["in turn"])
    straight = sum(n == 1 for n in of["simple"]) - len(planned)
    return (
        f"simple ones that went straight: {straight} of {len(of['simple'])}; those that say their parts, split into "
        f"these: {split} of {several}; plans followed: {solved.planned} of {len(of['prose'])} stories"
    )


def _scored_parts(question: Question) -> tuple[Part, ...]:
    """Return the parts that are scored: of a story only the last."""
    return question.parts[-1:] if question.kind == "prose" else question.parts


def _scores(question: Question, said: Sequence[str | None]) -> list[bool]:
    right = question.right()[-len(_scored_parts(question)) :]
    each = zip(_scored_parts(question), said, right, strict=True)
    return [score(text, wanted, part.check, part.choices) == 1 for part, text, wanted in each]


def _draw(*about: str) -> float:
    """Return a number from 0 to 1, the same for the same texts."""
    return int(hashlib.sha256("\0".join(about).encode()).hexdigest()[:12], 16) / 16**12


def draw_answer(expert: str, part: Part, known: Sequence[str]) -> tuple[str, bool]:
    """Return what an expert answers to a part with what is known, and whether that is right."""
    right = part.value(known)
    if _draw(expert, part.task, *known) < RIGHT[expert][part.level]:
        return right, True
    if part.check == "numeric":
        return f"{float(right) + 1 + int(9 * _draw('off', expert, part.task)):.10g}", False
    others = [choice for choice in (part.choices or ("yes", "no", "xyz")) if choice != right]
    return others[int(len(others) * _draw("other", expert, part.task))], False


def record_steps(made: Sequence[Question]) -> Record:
    """Return what every expert answers to every step, for all results that the steps before it may have."""
    record: Record = {}
    for question in made:
        row = SolveRow(question.text)
        if question.kind == "prose":
            record[question.text, question.text] = _whole(question)
            record[question.text, plan_prompt(question.text, row.limits.steps)] = _plans(question)
            row.steps = tuple(SolveStep(part.task, part.needs) for part in question.parts)
        elif not row.split() or len(row.steps) != len(question.parts):
            row.steps, row.marks = (SolveStep(question.text),), None
        _record_steps(row, question, record)
    return record


def _record_steps(row: SolveRow, question: Question, record: Record) -> None:
    if len(row.steps) == 1:
        record[question.text, question.text] = _whole(question)
        return
    came: list[set[str]] = []
    for i, part in enumerate(question.parts):
        came.append(set())
        # Of what a step needs beside what it is computed from, any answer will do to be shown.
        for known in itertools.product(*(sorted(came[need]) for need in row.steps[i].needs)):
            row.done |= {need: StepResult(answer=text) for need, text in zip(row.steps[i].needs, known, strict=True)}
            answers = {e: draw_answer(e, part, [_known(row, need) for need in part.needs]) for e in RIGHT}
            text = row.request(i).question
            record[text, text] = {e: (text, float(right)) for e, (text, right) in answers.items()}
            came[i] |= {text for text, _ in answers.values()}
    if row.planned:
        for known in itertools.product(*(sorted(texts) for texts in came)):
            row.done = {i: StepResult(answer=text) for i, text in enumerate(known)}
            joining = row.request(len(row.steps))
            assert joining.prompt is not None
            record[question.text, joining.prompt] = dict.fromkeys(RIGHT, (known[-1], 1.0))


def _known(row: SolveRow, need: int) -> str:
    return (row.done[need].answer if need in row.done else None) or ""


def _plans(question: Question) -> dict[str, tuple[str, float]]:
    steps = [{"task": part.task, "needs": [need + 1 for need in part.needs]} for part in question.parts]
    plan = json.dumps({"steps": steps})
    good = {expert: _draw("plan", expert, question.text) < chance for expert, chance in PLANS.items()}
    return {expert: (plan if well else "I would begin at the beginning.", float(well)) for expert, well in good.items()}


def record_direct(made: Sequence[Question]) -> Record:
    """Return what every expert answers to whole questions."""
    return {(question.text, question.text): _whole(question) for question in made}


def _whole(question: Question) -> dict[str, tuple[str, float]]:
    """Return the answers to all parts, each with what the expert has made of those before it."""
    found = {}
    for expert in RIGHT:
        said: list[str] = []
        for part in question.parts:
            said.append(draw_answer(expert, part, [said[need] for need in part.needs])[0])
        parts = said[-len(_scored_parts(question)) :]
        text = parts[0] if len(parts) == 1 else "\n".join(f"{i + 1}. {each}" for i, each in enumerate(parts))
        scores = _scores(question, parts)
        found[expert] = (text, sum(scores) / len(scores))
    return found


def write_record(record: Record, folder: Path, *, split: str, plans: bool = True) -> None:
    """Write a data folder; without `plans` only what is asked as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in record.items() if plans or key[0] == key[1]}
    queries, outcomes = [], []
    for i, ((question, prompt), answers) in enumerate(kept.items()):
        common: dict[str, Any] = {"query_id": str(i)}
        queries.append({**common, "dataset": "own", "split": split, "question": question, "prompt": prompt})
        for expert, (answer, right) in answers.items():
            tokens = {"prompt_tokens": len(prompt) // 4 + 10, "completion_tokens": len(answer) // 4 + _TOKENS_A_PART}
            outcomes.append({**common, "expert": expert, "score": right, "response": answer, **tokens})
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes, schema=OUTCOMES), folder / "outcomes.parquet")
    experts = [
        {"expert": name, "model": name, "license_open": True, "usd_per_m_input": usd_in, "usd_per_m_output": usd_out}
        for name, (usd_in, usd_out) in PRICES.items()
    ]
    pq.write_table(pa.Table.from_pylist(experts), folder / "experts.parquet")


def _entry(name: str, data: Path) -> str:
    usd_in, usd_out = PRICES[name]
    return (
        f'[[expert]]\nname = "{name}"\nmodel = "{data.resolve()}"\nbackend = "replay"\n'
        f"usd_per_m_input = {usd_in}\nusd_per_m_output = {usd_out}\n\n"
    )


if __name__ == "__main__":
    main()
