"""MMLU beside the field's reference: the same model, shots and prompts through `leeroo mmlu` and through lm-eval.

    python bench/jobs/mmlu_reference.py [--subjects 10] [--questions 50] [--shots 5] [--backend transformers]

Needs lm-eval (`pip install lm-eval`; its own requirements are beside ours, not in conflict). Both are given the first
questions of some subjects of LEEROO_DATA/mmlu: lm-eval by its own MMLU tasks, pointed at local files, on its `hf`
backend. Prints the accuracies, on how many questions the letters agree, how much the log probabilities differ, and
how long each took.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from leeroo.engine import weights
from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.mmlu.data import read_questions
from leeroo.engine.jobs.mmlu.mmlu import run_mmlu
from leeroo.engine.pool import load_pool

POOL = """
[[expert]]
name = "smollm2"
model = "{model}"
backend = "{backend}"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
"""
TASK = """
include: {default}/mmlu_{subject}.yaml
task: local_{subject}
tag: local_mmlu
dataset_path: parquet
dataset_name: null
dataset_kwargs:
  data_files:
    test: {folder}/lm-eval/test_{subject}.parquet
    dev: {folder}/lm-eval/dev_{subject}.parquet
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=10)
    parser.add_argument("--questions", type=int, default=50, help="of each subject")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--backend", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = write_questions(folder, asked.subjects, asked.questions)
        ours, seconds = of_leeroo(folder, asked.model, asked.backend, asked.shots)
        theirs, their_seconds = of_lm_eval(folder, subjects, asked.model, asked.shots)
    rows = [row for subject in subjects for row in ours if row["subject"] == subject]
    gold = np.array([row["gold"] for row in rows])
    letters = np.array([row["letter"] for row in rows])
    reference = np.array(["ABCD"[int(np.argmax(each))] for each in theirs])
    print(f"{os.cpu_count()} cores; {asked.model}, {asked.shots} shots")
    print(f"{len(rows)} questions of {len(subjects)} subjects")
    print("\n| | accuracy | seconds |\n|---|---|---|")
    print(f"| leeroo mmlu ({asked.backend}) | {(letters == gold).mean():.1%} | {seconds:.0f} |")
    print(f"| lm-eval (hf) | {(reference == gold).mean():.1%} | {their_seconds:.0f} |")
    print(f"\nthe same letter on {(letters == reference).mean():.1%} ({(letters == reference).sum()} of {len(rows)})")
    logprobs = np.array([row["choice_logprobs"] for row in rows])
    theirs = theirs - np.log(np.exp(theirs).sum(axis=1, keepdims=True))
    print(f"log probabilities among the letters differ by at most {np.abs(logprobs - theirs).max():.4f}")


def write_questions(folder: Path, subjects: int, questions: int) -> list[str]:
    """Write files for both: all in one for ours, one for each subject with answers as numbers for lm-eval."""
    con = duckdb.connect()
    con.execute(f"""CREATE TABLE test AS SELECT * EXCLUDE (file_row_number)
                    FROM read_parquet('{DATA}/mmlu/test.parquet', file_row_number = true)
                    QUALIFY row_number() OVER (PARTITION BY subject ORDER BY file_row_number) <= {questions}""")
    con.execute(f"""DELETE FROM test WHERE subject NOT IN
                    (SELECT DISTINCT subject FROM test ORDER BY md5(subject) LIMIT {subjects})""")
    con.execute(f"CREATE TABLE dev AS FROM '{DATA}/mmlu/dev.parquet' WHERE subject IN (SELECT subject FROM test)")
    (folder / "lm-eval").mkdir()
    named = [name for (name,) in con.execute("SELECT DISTINCT subject FROM test ORDER BY subject").fetchall()]
    for split in ("test", "dev"):
        con.execute(f"COPY {split} TO '{folder}/{split}.parquet'")
        for name in named:
            con.execute(f"""COPY (SELECT question, subject, choices, ascii(answer) - 65 AS answer FROM {split}
                                  WHERE subject = '{name}') TO '{folder}/lm-eval/{split}_{name}.parquet'""")
    return [str(name) for name in named]


def of_leeroo(folder: Path, model: str, backend: str, shots: int) -> tuple[list[dict[str, Any]], float]:
    """Return our rows, and the seconds they took, loading included."""
    (folder / "pool.toml").write_text(POOL.format(model=model, backend=backend))
    questions = read_questions(str(folder), shots=shots)
    started = time.perf_counter()
    with Engine(load_pool(folder / "pool.toml"), store=folder / "store") as engine:
        results = run_mmlu(engine, questions, Criteria())
    seconds = time.perf_counter() - started
    return results.answers.to_pylist(), seconds


def of_lm_eval(folder: Path, subjects: list[str], model: str, shots: int) -> tuple[np.ndarray, float]:
    """Return its log probability of each letter [n, 4], in the order of the subjects; seconds, loading included."""
    import lm_eval  # pyright: ignore[reportMissingImports]
    import torch
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    default = Path(str(lm_eval.__file__)).parent / "tasks" / "mmlu" / "default"
    tasks = folder / "lm-eval"
    for subject in subjects:
        (tasks / f"{subject}.yaml").write_text(TASK.format(default=default, subject=subject, folder=folder))
    started = time.perf_counter()
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(weights.locate(model)), "dtype": "float32"},
        tasks=[f"local_{subject}" for subject in subjects],
        task_manager=TaskManager(include_path=str(tasks)),
        num_fewshot=shots,
        batch_size=1,
        device="cuda" if torch.cuda.is_available() else "cpu",
        log_samples=True,
        bootstrap_iters=0,
    )
    seconds = time.perf_counter() - started
    logprobs = []
    for subject in subjects:
        samples = sorted(found["samples"][f"local_{subject}"], key=lambda sample: sample["doc_id"])
        logprobs += [[float(reply[0]) for reply in sample["filtered_resps"]] for sample in samples]
    return np.array(logprobs), seconds


if __name__ == "__main__":
    main()
