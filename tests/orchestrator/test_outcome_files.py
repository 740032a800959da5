"""Files of outcomes, in the forms that people have them, become data folders."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.jobs.verify import check_for, score
from leeroo.engine.orchestrator.outcomes.columns import GUESSED, read_map
from leeroo.engine.orchestrator.outcomes.files import check_map, convert, describe, is_data_folder
from leeroo.engine.orchestrator.outcomes.forms import FORMS
from leeroo.engine.orchestrator.outcomes.read import read_outcomes, read_prices
from leeroo.engine.orchestrator.outcomes.staged import FileOutcomes
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES

Rows = Sequence[Mapping[str, Any]]


def grade(answer: str, right: str) -> float:
    """Score an answer as the command line does."""
    return score(answer, right, check_for(right))


def write(path: Path, rows: Rows) -> Path:
    """Write rows as CSV, JSON lines, JSON or Parquet, as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            out.writerows(rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return path


def read(source: Path, folder: Path, *mapped: str) -> tuple[FileOutcomes, dict[tuple[str, str], dict[str, Any]]]:
    """Return what was found in a source, and its outcomes by question and expert."""
    found = convert(str(source), folder, read_map(mapped), grade)
    queries = {row["query_id"]: row for row in pq.read_table(folder / "queries.parquet").to_pylist()}
    rows = pq.read_table(folder / "outcomes.parquet").to_pylist()
    return found, {
        (queries[row["query_id"]]["question"], row["expert"]): {**queries[row["query_id"]], **row} for row in rows
    }


LONG = [
    {"Question": f"What is {i}?", "Model": model, "correct": right, "cost": 0.5, "input_tokens": 10, "output_tokens": 2}
    for i in range(12)
    for model, right in (("a", "yes"), ("b", "no" if i % 2 else "TRUE"))
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".json"])
def test_a_row_for_each_question_and_model_is_read(tmp_path: Path, suffix: str) -> None:
    """Columns are found by their usual names, whatever their case, in every kind of file."""
    found, rows = read(write(tmp_path / f"results{suffix}", LONG), tmp_path / "data")
    assert found.forms == ["long"]
    assert (found.questions, found.outcomes) == (12, 24)
    assert rows["What is 3?", "a"]["score"] == 1
    assert rows["What is 3?", "b"]["score"] == 0
    assert rows["What is 3?", "a"]["cost_usd"] == 0.5
    assert (rows["What is 3?", "a"]["prompt_tokens"], rows["What is 3?", "a"]["completion_tokens"]) == (10, 2)
    assert read_outcomes([tmp_path / "data"]).experts == ("a", "b")
    line = describe(found)
    assert "long form, question = 'Question', expert = 'Model', score = 'correct'" in line
    assert "scores are true/false; 12 questions, 2 experts, no splits: all questions are for training" in line
    assert "\n" not in line


def test_the_tables_are_those_of_a_data_folder(tmp_path: Path) -> None:
    """All columns of the schemas are there, with their types."""
    read(write(tmp_path / "results.csv", LONG), tmp_path / "data")
    for name, schema in (("queries", QUERIES), ("outcomes", OUTCOMES), ("experts", EXPERTS)):
        table = pq.read_table(tmp_path / "data" / f"{name}.parquet")
        for field in schema:
            assert table.schema.field(field.name).type == field.type, field.name


def test_a_column_for_each_model_is_read(tmp_path: Path) -> None:
    """Columns of nothing but scores are models; an empty cell is no outcome, and names that are known are no models."""
    rows = [
        {"id": i % 2, "prompt": f"q{i}", "task": "sums", "gpt-4": 1, "small": "" if i == 3 else 0.25} for i in range(12)
    ]
    found, outcomes = read(write(tmp_path / "wide.csv", rows), tmp_path / "data")
    assert found.forms == ["wide"]
    assert [each.expert for each in found.experts] == ["gpt-4", "small"]
    assert outcomes["q1", "small"]["score"] == 0.25
    assert outcomes["q1", "small"]["subject"] == "sums"
    assert ("q3", "small") not in outcomes
    assert [(each.reason, each.rows) for each in found.left_out] == [("no score", 1)]


def test_a_wide_table_may_have_costs_and_tokens_of_each_model(tmp_path: Path) -> None:
    """Columns that begin with a model's name belong to it."""
    rows = [
        {"question": f"q{i}", "a_correct": 1, "a_cost": 2, "a_output_tokens": 7, "b_correct": 0, "b_cost": 1}
        for i in range(12)
    ]
    found, outcomes = read(write(tmp_path / "wide.csv", rows), tmp_path / "data")
    assert [each.expert for each in found.experts] == ["a", "b"]
    assert outcomes["q2", "a"]["cost_usd"] == 2
    assert outcomes["q2", "a"]["completion_tokens"] == 7
    assert outcomes["q2", "b"]["completion_tokens"] is None


def test_routerbench_is_read(tmp_path: Path) -> None:
    """A model's score, response and cost stand in three columns; the oracle's column is none."""
    rows = [
        {
            "sample_id": f"mmlu.{i}", "prompt": f"q{i}", "eval_name": "mmlu-law",
            "gpt-4-1106-preview": 1.0, "WizardLM/WizardLM-13B-V1.2": i % 2,
            "gpt-4-1106-preview|model_response": "['A']", "WizardLM/WizardLM-13B-V1.2|model_response": "['B']",
            "gpt-4-1106-preview|total_cost": 0.002, "WizardLM/WizardLM-13B-V1.2|total_cost": 0.0001,
            "oracle_model_to_route_to": "gpt-4-1106-preview",
        }
        for i in range(12)
    ]  # fmt: skip
    found, outcomes = read(write(tmp_path / "rb.parquet", rows), tmp_path / "data")
    assert found.forms == ["routerbench"]
    assert found.outcomes == 24
    row = outcomes["q1", "gpt-4-1106-preview"]
    assert (row["score"], row["cost_usd"], row["response"], row["subject"]) == (1, 0.002, "['A']", "mmlu-law")


def test_what_run_wrote_is_read_with_scores(tmp_path: Path) -> None:
    """The list cost counts, also where the store paid; a row that failed is no outcome; a prefix is seen."""
    added = {"answer": "42", "predicted_score": 0.4, "prompt_tokens": 9, "completion_tokens": 3, "cost_usd": 0.0}
    added |= {"list_cost_usd": 0.25, "latency_ms": 12.5, "finish_reason": "stop"}
    rows = [
        {"question": f"q{i}", "score": 1, "x_expert": "a", **{f"x_{k}": v for k, v in added.items()}, "x_error": None}
        for i in range(12)
    ]
    rows[4] |= {"x_answer": None, "x_error": "refused"}
    found, outcomes = read(write(tmp_path / "answers.parquet", rows), tmp_path / "data")
    assert found.forms == ["run"]
    assert outcomes["q1", "a"]["cost_usd"] == 0.25
    assert outcomes["q1", "a"]["response"] == "42"
    assert outcomes["q1", "a"]["latency_ms"] == 12.5
    assert ("q4", "a") not in outcomes
    assert found.left_out[0].reason == "the row failed and has no answer"
    assert found.left_out[0].examples == [f"{tmp_path}/answers.parquet: row 5"]


def test_answers_are_compared_with_right_ones_where_there_are_no_scores(tmp_path: Path) -> None:
    """A number, a letter or a text is compared as leeroo compares them; that is said."""
    rows = [
        {"question": f"q{i}", "model": "a", "response": f"The answer is {i}.", "answer": str(i + i % 2)}
        for i in range(12)
    ]
    found, outcomes = read(write(tmp_path / "answers.csv", rows), tmp_path / "data")
    assert [outcomes[f"q{i}", "a"]["score"] for i in range(4)] == [1, 0, 1, 0]
    assert "scores are compared with right answers" in describe(found)


def lm_eval_rows(n: int, right: int, **more: Any) -> Rows:
    """Return samples as lm-eval logs them."""
    return [
        {
            "doc_id": i, "doc": {"question": f"q{i}", "choices": {"text": ["x", "y"], "label": ["A", "B"]}}, "target": "0",
            "arguments": {"gen_args_0": {"arg_0": f"Question: q{i}\nAnswer:", "arg_1": " x"}},
            "resps": [[["-1.2", "True"]]], "filtered_resps": [["-1.2", "True"]], "filter": "none",
            "metrics": ["acc", "acc_norm"], "acc": float(i < right), "acc_norm": 1.0, **more,
        }
        for i in range(n)
    ]  # fmt: skip


def test_lm_eval_logs_are_read(tmp_path: Path) -> None:
    """A folder of results has a folder for each model; the task is in a log's name, and other files are passed over."""
    for model, right in (("org__big", 12), ("org__small", 3)):
        write(tmp_path / "out" / model / "samples_arc_easy_2026-01-02T03-04-05.678901.jsonl", lm_eval_rows(12, right))
        (tmp_path / "out" / model / "results_2026-01-02T03-04-05.678901.json").write_text('{"results": {}}')
    found, outcomes = read(tmp_path / "out", tmp_path / "data")
    assert found.forms == ["lm-eval"]
    assert found.files == 2
    assert {each.expert: each.mean_score for each in found.experts} == {"org__big": 1, "org__small": 0.25}
    assert outcomes["q5", "org__small"]["subject"] == "arc_easy"
    assert outcomes["q5", "org__small"]["prompt"] == "q5\nA. x\nB. y"
    _, other = read(tmp_path / "out", tmp_path / "other", "acc_norm=score")
    assert other["q5", "org__small"]["score"] == 1


def test_the_first_filter_of_lm_eval_counts(tmp_path: Path) -> None:
    """The same answers are logged once for each filter; older versions log arguments as a list."""
    rows = [
        {
            "doc_id": i, "doc": {}, "target": "4", "arguments": [[f"Question: q{i}\nAnswer:", {"until": []}]],
            "resps": [["It is 4."]], "filtered_resps": ["4"], "filter": name, "exact_match": float(name == "flexible-extract"),
        }
        for name in ("strict-match", "flexible-extract") for i in range(12)
    ]  # fmt: skip
    found, outcomes = read(write(tmp_path / "m" / "samples_gsm8k.jsonl", rows), tmp_path / "data")
    assert found.experts[0].mean_score == 0
    assert found.repeated == 0
    assert found.remarks == ["of the filters strict-match, flexible-extract the first counts"]
    assert outcomes["Question: q1\nAnswer:", "m"]["response"] == "It is 4."


def zero_eval_row(i: int, said: str, **more: Any) -> dict[str, Any]:
    """Return a result of ZeroEval."""
    output = [json.dumps({"reasoning": "so", "answer": said})]
    return {"session_id": f"s{i}", "chat_history": [f"## Question: q{i}"], "model_input": "..", "output": output,
            "generator": "org/m", "configs": {"engine": "vllm"}, "dataset": "d", "question": f"q{i}", **more}  # fmt: skip


def test_zero_eval_is_read(tmp_path: Path) -> None:
    """Answers in JSON are compared with numbers, with the letters of choices, and with other texts as they are."""
    rows = [
        zero_eval_row(0, "$1,200", answer="# 1200"),
        zero_eval_row(1, "B) two", choices=["one", "two"], correct_answer="two"),
        zero_eval_row(2, "A", choices=["one", "two"], correct_answer="two"),
        zero_eval_row(3, "[1, 2]", answer="[1, 2]"),
        zero_eval_row(4, "[12]", answer="[1, 2]"),
        {**zero_eval_row(5, "7", answer="7"), "output": ["I do not know."]},
    ]
    found, outcomes = read(write(tmp_path / "m.json", rows), tmp_path / "data")
    assert found.forms == ["zeroeval"]
    assert [outcomes[f"q{i}", "org/m"]["score"] for i in range(6)] == [1, 1, 0, 1, 0, 0]
    assert outcomes["q1", "org/m"]["prompt"] == "q1\nA. one\nB. two"
    assert outcomes["q1", "org/m"]["prediction"] == "B) two"


def test_evaluated_results_of_zero_eval_keep_their_scores(tmp_path: Path) -> None:
    """What its own evaluation says counts, and no answer is wrong."""
    rows = [zero_eval_row(i, "1", answer="1", matched=m) for i, m in enumerate([True, False, "No answer extracted"])]
    _, outcomes = read(write(tmp_path / "m.json", rows), tmp_path / "data")
    assert [outcomes[f"q{i}", "org/m"]["score"] for i in range(3)] == [1, 0, 0]


def helm_run(folder: Path, *, said: str = "B") -> Path:
    """Write a run of HELM: twelve instances, one of them perturbed too."""
    references = [{"output": {"text": "x"}, "tags": []}, {"output": {"text": "y"}, "tags": ["correct"]}]
    states, stats = [], []
    for i in range(13):
        instance = {
            "input": {"text": f"q{min(i, 11)}"},
            "references": references,
            "split": "test",
            "id": f"id{min(i, 11)}",
        }
        perturbed = {"perturbation": {"name": "typos"}} if i == 12 else {}
        states.append(
            {
                "instance": instance | perturbed, "train_trial_index": 0, "output_mapping": {"A": "x", "B": "y"},
                "request": {"model": "org/m", "prompt": "five examples ..."},
                "result": {"success": True, "completions": [{"text": f" {said}"}], "request_time": 0.5},
            }
        )  # fmt: skip
        means = {"exact_match": float(i < 6), "num_prompt_tokens": 30, "num_output_tokens": 1}
        stats.append(
            {
                "instance_id": instance["id"], "train_trial_index": 0, **perturbed,
                "stats": [{"name": {"name": name, "split": "test"}, "count": 1, "mean": mean} for name, mean in means.items()],
            }
        )  # fmt: skip
    folder.mkdir(parents=True)
    spec = {
        "name": "mmlu:subject=law,model=org_m",
        "adapter_spec": {"model": "org/m"},
        "scenario_spec": {"args": {"subject": "law"}},
    }
    write(folder / "scenario_state.json", {"adapter_spec": {"model": "org/m"}, "request_states": states})  # type: ignore[arg-type]
    write(folder / "per_instance_stats.json", stats)
    write(folder / "run_spec.json", spec)  # type: ignore[arg-type]
    return folder


def test_a_run_of_helm_is_read(tmp_path: Path) -> None:
    """Scores and tokens come from its statistics; perturbed instances are left out."""
    helm_run(tmp_path / "runs" / "mmlu:subject=law,model=org_m")
    found, outcomes = read(tmp_path / "runs", tmp_path / "data")
    assert (found.forms, found.files, found.outcomes) == (["helm"], 1, 12)
    row = outcomes["q7", "org/m"]
    assert (row["score"], row["prompt_tokens"], row["completion_tokens"], row["latency_ms"]) == (0, 30, 1, 500)
    assert (row["subject"], row["dataset"], row["response"]) == ("law", "mmlu", " B")
    assert row["prompt"] == "q7\nA. x\nB. y"
    assert outcomes["q5", "org/m"]["score"] == 1


def test_a_run_of_helm_without_statistics_is_scored_by_its_references(tmp_path: Path) -> None:
    """The letter stands for an option; a file under another name is known by what is in it."""
    right, wrong = helm_run(tmp_path / "right"), helm_run(tmp_path / "wrong", said="A")
    for folder, expected in ((right, 1), (wrong, 0)):
        (folder / "scenario_state.json").rename(folder / "law.json")
        found, _ = read(folder / "law.json", tmp_path / f"data{expected}")
        assert found.experts[0].mean_score == expected


def test_what_helm_displays_is_read(tmp_path: Path) -> None:
    """Without the state, the files of its web pages are read."""
    folder = helm_run(tmp_path / "run")
    (folder / "scenario_state.json").unlink()
    write(folder / "instances.json", [{"input": {"text": f"q{i}"}, "id": f"id{i}"} for i in range(12)])
    shown = [
        {"instance_id": f"id{i}", "train_trial_index": 0, "predicted_text": "B", "stats": {"quasi_exact_match": 1.0}}
        for i in range(12)
    ]
    write(folder / "display_predictions.json", shown)
    found, outcomes = read(folder, tmp_path / "data")
    assert found.outcomes == 12
    assert outcomes["q3", "org/m"]["score"] == 1


@pytest.mark.parametrize("form", ["names", "votes", "conversation"])
def test_preferences_become_shares_of_wins(tmp_path: Path, form: str) -> None:
    """Who wins more has the greater scores; the winner is a side, a model, or a column for each side."""
    rows = []
    for i in range(20):
        row: dict[str, Any] = {
            "question": f"q{i}",
            "model_a": "strong",
            "model_b": "weak",
            "winner": "model_a" if i % 5 else "weak",
        }
        if form == "votes":
            won = row.pop("winner") == "model_a"
            row |= {"winner_model_a": int(won), "winner_model_b": int(not won), "winner_tie": 0}
        if form == "conversation":
            row["conversation_a"] = [
                {"role": "user", "content": row.pop("question")},
                {"role": "assistant", "content": "hm"},
            ]
        rows.append(row)
    found, outcomes = read(write(tmp_path / "arena.jsonl", rows), tmp_path / "data")
    assert found.forms == ["preferences"]
    means = {each.expert: each.mean_score for each in found.experts}
    assert means["strong"] == pytest.approx(0.8, abs=0.03)
    assert means["weak"] == pytest.approx(0.2, abs=0.03)
    assert outcomes["q0", "strong"]["score"] < outcomes["q1", "strong"]["score"]


def test_splits_are_read(tmp_path: Path) -> None:
    """Rows for tests are not for training, whatever they are called."""
    rows = [
        {"question": f"q{i}", "model": "a", "score": 1, "split": "validation" if i < 11 else "train"} for i in range(23)
    ]
    found, _ = read(write(tmp_path / "t.csv", rows), tmp_path / "data")
    assert found.splits == {"train": 12, "test": 11}
    assert "no splits" not in describe(found)
    assert len(read_outcomes([tmp_path / "data"], "test").questions) == 11


def test_the_same_pair_again_counts_as_its_mean(tmp_path: Path) -> None:
    """Several samples of one answer are averaged, and those that contradict are counted."""
    rows = [
        {"question": f"q{i}", "model": "a", "score": s}
        for i in range(12)
        for s in ((1, 0) if i == 0 else (1, 1) if i == 1 else (1,))
    ]
    found, outcomes = read(write(tmp_path / "t.csv", rows), tmp_path / "data")
    assert (found.repeated, found.contradicting) == (2, 1)
    assert outcomes["q0", "a"]["score"] == 0.5


def test_prices_stand_in_the_file_or_follow_from_costs(tmp_path: Path) -> None:
    """Tokens and costs give the prices behind them; a name that is on no price list has no price."""
    rows = [{"question": f"q{i}", "model": m, "score": 1, "prompt_tokens": 10 + i, "completion_tokens": 3 * i % 7,
             "cost": ((10 + i) * 2 + 3 * i % 7 * 8) / 1e6 if m == "paid" else None,
             "usd_per_m_input": 5 if m == "listed" else None, "usd_per_m_output": 6 if m == "listed" else None}
            for i in range(12) for m in ("paid", "listed", "unknown thing")]  # fmt: skip
    found, _ = read(write(tmp_path / "t.csv", rows), tmp_path / "data")
    prices = read_prices([tmp_path / "data"], ["paid", "listed", "unknown thing"])
    assert prices[:, 0].tolist() == pytest.approx([2, 8], rel=1e-3)
    assert prices[:, 1].tolist() == [5, 6]
    assert {each.expert: each.priced for each in found.experts} == {
        "paid": True,
        "listed": True,
        "unknown thing": False,
    }


def test_tokens_of_prompts_follow_from_the_texts(tmp_path: Path) -> None:
    """With tokens of answers alone, those of prompts are a quarter of the text's bytes, which is said."""
    rows = [{name: value for name, value in row.items() if name != "input_tokens"} for row in LONG]
    found, outcomes = read(write(tmp_path / "results.csv", rows), tmp_path / "data")
    assert outcomes["What is 3?", "a"]["prompt_tokens"] == 3  # 10 bytes
    assert "tokens of prompts are not recorded: they follow from the length of the texts" in found.remarks


def test_a_map_names_columns(tmp_path: Path) -> None:
    """What is mapped is not guessed; ignored columns are no models; several scores make a wide table."""
    rows = [{"frage": f"q{i}", "wer": "a", "gut": 1, "score": 0, "noise": 0.5} for i in range(12)]
    file = write(tmp_path / "t.csv", rows)
    _, outcomes = read(file, tmp_path / "data", "frage=question", "wer=model", "gut=score")
    assert outcomes["q1", "a"]["score"] == 1
    found, _ = read(file, tmp_path / "wide", "frage=question", "gut=score", "noise=score", "wer=ignore")
    assert [each.expert for each in found.experts] == ["gut", "noise"]


def test_a_map_names_columns_of_logs_too(tmp_path: Path) -> None:
    """An expert may stand in a column of a log, and not in the name of its folder."""
    rows = [{**row, "who": "me"} for row in lm_eval_rows(12, 12)]
    found, _ = read(write(tmp_path / "samples_x.jsonl", rows), tmp_path / "data", "who=expert")
    assert [each.expert for each in found.experts] == ["me"]


def test_a_mapped_column_is_in_one_of_the_files(tmp_path: Path) -> None:
    """A map may be for one file of several."""
    ours = [{"question": f"q{i}", "model": "a", "score": 1} for i in range(12)]
    theirs = [{"question": f"q{i}", "model": "b", "gut": 1} for i in range(12)]
    files = [write(tmp_path / "ours.csv", ours), write(tmp_path / "theirs.csv", theirs)]
    found = [read(file, tmp_path / file.stem, "gut=score")[0] for file in files]
    check_map({"gut": "score"}, found)
    with pytest.raises(UsageError, match="ours.csv has no column 'gut'; it has model, question, score"):
        check_map({"gut": "score"}, found[:1])


def test_a_file_without_comparisons_has_no_outcomes(tmp_path: Path) -> None:
    """Preferences without a question, or of an expert with itself, are left out."""
    rows = [
        {"question": "", "model_a": "a", "model_b": "b", "winner": "tie"},
        {"question": "q", "model_a": "a", "model_b": "a", "winner": "tie"},
    ]
    found, outcomes = read(write(tmp_path / "t.csv", rows), tmp_path / "data")
    assert not outcomes
    assert sum(each.rows for each in found.left_out) == 2


def test_a_pattern_of_files_is_read_as_one(tmp_path: Path) -> None:
    """Files may each hold a model's rows."""
    for model in "ab":
        write(
            tmp_path / "parts" / f"{model}.csv", [{"question": f"q{i}", "model": model, "score": 1} for i in range(12)]
        )
    found, _ = read(tmp_path / "parts" / "*.csv", tmp_path / "data")
    assert (found.files, found.questions, len(found.experts)) == (2, 12, 2)


BASE = {"question": "q", "model": "a", "score": 1}


@pytest.mark.parametrize(
    ("rows", "mapped", "message"),
    [
        ([BASE, BASE | {"score": "good"}], (), "row 2: 'good' in the column 'score' is no score"),
        ([BASE, BASE | {"score": 87}], (), "row 2: the score 87 in the column 'score' is not between 0 and 1: scale that "
                                           "column to this range, such as by dividing by 100"),
        ([BASE, BASE | {"score": 7}], (), "such as by (score - 1) / 9 for a scale from 1 to 10"),
        ([BASE, BASE | {"score": "-0.5"}], (), "row 2: the score -0.5 in the column 'score' is not between 0 and 1"),
        ([BASE | {"split": "blue"}], (), "row 1: the split 'blue' is neither train nor test"),
        ([BASE | {"cost": "much"}], (), "row 1: 'much' is read as cost_usd, and is no number from 0"),
        ([BASE | {"tokens": "-3"}], (), "row 1: '-3' is read as completion_tokens, and is no number from 0"),
        ([{"text": "q", "label": "x"}], (), "is of no known form; its columns are text, label; forms that are read:"),
        ([{"question": "q", "model": "a", "length": 3}], (), "has no column of scores, nor one of right answers"),
        ([BASE], ("nope=score",), "map= nope=score: {file} has no column 'nope'; it has model, question, score"),
        ([BASE], ("score=points",), "map= score=points: 'points' is no name of ours, which are question, prompt"),
        ([BASE], ("score",), "map= takes COLUMN=NAME, such as correct=score, but was given 'score'"),
        ([{"question": "q", "model_a": "a", "model_b": "b", "winner": "c"}], (),
         "row 1: the winner 'c' is none of model_a, model_b, tie and both_bad"),
        ([{"doc_id": 0, "doc": "{}", "filtered_resps": "[]", "weird": 1}], (),
         "row 1: none of its metrics is a known score"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(tmp_path: Path, rows: Rows, mapped: Sequence[str], message: str) -> None:
    """An error is one line with the file, the row and the column, and says how to mend it."""
    file = write(tmp_path / "t.csv", rows)
    with pytest.raises(UsageError) as raised:
        check_map(read_map(mapped), [convert(str(file), tmp_path / "data", read_map(mapped), grade)])
    assert message.format(file=file) in str(raised.value)
    assert "\n" not in str(raised.value)
    if not mapped:
        assert str(file) in str(raised.value)


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    """Files that are not what they are called, or are empty, or are a part of something, are named."""
    (tmp_path / "t.parquet").write_text("no")
    (tmp_path / "run.json").write_text('{"adapter_spec": {}, "request_states": 3}')
    (tmp_path / "none.csv").write_text("")
    (tmp_path / "ragged.csv").write_text("question,model\nq,a\nq,b,c\n")
    for name, message in (
        ("t.parquet", "cannot be read as Parquet"),
        ("run.json", "cannot be read as a run of HELM"),
        ("none.csv", "has no rows"),
        ("ragged.csv", "line 3: it has 3 values, the first line has 2"),
        ("gone.csv", "there is no file"),
    ):
        with pytest.raises(InputError, match=message) as raised:
            convert(str(tmp_path / name), tmp_path / "data", {}, grade)
        assert "\n" not in str(raised.value)


def test_the_part_of_a_data_folder_leads_to_it(data_folder: Path, tmp_path: Path) -> None:
    """The error about a file of a data folder names the folder."""
    with pytest.raises(InputError, match=f"is a part of a data folder: name the folder {data_folder}"):
        convert(str(data_folder / "outcomes.parquet"), tmp_path / "made", {}, grade)


def test_what_is_read_as_a_data_folder(data_folder: Path, tmp_path: Path) -> None:
    """A folder with its tables, one that is empty, and a name that is nothing; not files, patterns and results."""
    (tmp_path / "empty").mkdir()
    write(tmp_path / "out" / "t.csv", [BASE])
    for source, expected in (("data", True), ("empty", True), ("nowhere", True), ("out", False), ("out/t.csv", False)):
        assert is_data_folder(str(tmp_path / source)) is expected, source
    assert not is_data_folder("gone.csv")
    assert not is_data_folder("x/*")


_PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "train-a-router.md").read_text("utf-8")


@pytest.mark.parametrize(("suffix", "kind", "text"), re.findall(r"```(\w+) ([\w-]+)\n(.*?)```", _PAGE, re.DOTALL))
def test_examples_of_the_page_are_read(tmp_path: Path, suffix: str, kind: str, text: str) -> None:
    """Each example is recognised as what the page calls it, and all its rows are outcomes."""
    (tmp_path / f"example.{suffix}").write_text(text)
    found, outcomes = read(tmp_path / f"example.{suffix}", tmp_path / "data")
    assert found.forms == [kind]
    assert outcomes
    assert not found.left_out


def test_the_page_has_every_form_and_every_name() -> None:
    """All forms and all names by which columns are known are there."""
    shown = {kind for _, kind in re.findall(r"```(\w+) ([\w-]+)\n", _PAGE)}
    assert shown | {"helm"} == set(FORMS)
    words = set(re.findall(r"\w+", _PAGE[_PAGE.index("## Columns") :]))
    assert {
        name for ours, names in GUESSED.items() if ours not in ("model_a", "model_b", "winner") for name in names
    } <= words
