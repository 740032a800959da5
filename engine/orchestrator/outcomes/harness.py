"""Outcomes as evaluation programs write them: lm-eval's sample logs, ZeroEval's results, and runs of HELM.

Each function returns rows with our names of columns, as `columns.GUESSED` lists them; values are as they stand there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from leeroo.engine.errors import InputError

Row = dict[str, Any]

HELM_FILES = ("scenario_state.json", "display_predictions.json", "per_instance_stats.json")
# Bytes of a file that show if it is a run of HELM: the description of its model comes first and is short.
_HEAD_BYTES = 1 << 16
# The metrics that say if an answer is right, the likeliest first.
_METRICS = (
    "exact_match", "quasi_exact_match", "acc", "acc_norm", "pass@1", "pass_at_1", "prompt_level_strict_acc",
    "final_number_exact_match", "math_equiv_chain_of_thought", "math_equiv", "prefix_exact_match",
    "quasi_prefix_exact_match", "chain_of_thought_correctness", "ifeval_strict_accuracy", "f1", "f1_score", "score",
    "acc_mutual_info", "contains", "bleu_acc", "mc2",
)  # fmt: skip
_QUESTIONS = ("question", "query", "problem", "instruction", "input", "goal", "ctx", "sentence", "text", "prompt")
_SAMPLES = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d.\-:]+)?\.jsonl(?:\.gz|\.zst)?")
_ANSWER = re.compile(r'"answer"\s*:\s*("(?:[^"\\]|\\.)*"|[^,}\n]+)')
_DECODER = json.JSONDecoder(strict=False)
# Right answers that are numbers or letters: what was said is compared with them as such, and with others as it is.
_GRADED = re.compile(r"\s*(?:[A-Z]|[-+]?[\d.,]+)\s*")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def read_lm_eval(path: str, rows: Iterable[Mapping[str, Any]], metric: str | None) -> tuple[list[Row], list[str]]:
    """Return the rows of a sample log of lm-eval, and remarks on them.

    Its folder is the model's name and its own name has the task. Where a task has several filters, the same answers are
    there once for each; the first counts.

    Args:
        path: Where the log is.
        rows: Its lines, nested values as JSON text.
        metric: The metric that is the score; None takes the likeliest.
    """
    named = _SAMPLES.fullmatch(Path(path).name)
    found: list[Row] = []
    filters: dict[str, None] = {}
    for number, row in enumerate(rows, 1):
        filters.setdefault(row.get("filter") or "none")
        if (row.get("filter") or "none") != next(iter(filters)):
            continue
        metric = metric or _metric(row, f"{path}: row {number}")
        doc = _parsed(row.get("doc"))
        doc = doc if isinstance(doc, dict) else {}
        asked = next((doc[name] for name in _QUESTIONS if isinstance(doc.get(name), str)), None) or _argument(row)
        found.append(
            {
                "row": number,
                "question": asked,
                "prompt": _with_options(asked, _options(doc)),
                "expert": row.get("model") or Path(path).resolve().parent.name,
                "score": row.get(metric),
                "gold": row.get("target"),
                "response": _first(row.get("resps")),
                "subject": named["task"] if named else None,
                "dataset": "lm-eval",
                "field": metric,
            }
        )
    several = [] if len(filters) < 2 else [f"of the filters {', '.join(filters)} the first counts"]
    return found, several


def read_zero_eval(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of a result of ZeroEval: the evaluated ones have a score, others an answer and the right one."""
    found: list[Row] = []
    for number, row in enumerate(rows, 1):
        options = _parsed(row.get("choices"))
        options = [str(option) for option in options] if isinstance(options, list) else []
        asked = next((row[name] for name in ("question", "problem", "instruction") if row.get(name)), None)
        asked = asked or _first(row.get("chat_history"))
        right = row.get("correct_answer") or row.get("answer")
        if right in options:
            right = _LETTERS[options.index(right)]
        right = None if right is None else right.lstrip("# ")
        response = _first(row.get("output"))
        said, matched = _answer(response), row.get("matched")
        if matched is None and right is not None and not _GRADED.fullmatch(right):  # literals of code, say
            matched = "true" if _bare(said) == _bare(right) else "false"
        found.append(
            {
                "row": number,
                "question": asked,
                "prompt": _with_options(asked, options),
                "expert": row.get("generator"),
                "score": matched if matched in ("true", "false", None) else "false",
                "gold": right,
                "response": response,
                "prediction": said,
                "subject": row.get("subject"),
                "dataset": row.get("dataset"),
                "field": "matched",
            }
        )
    return found


def is_helm(path: Path) -> bool:
    """Return whether a file is one of those that a run of HELM writes, under their names or another."""
    if path.name in HELM_FILES:
        return True
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return head.lstrip().startswith(b"{") and b'"adapter_spec"' in head and b'"request_states"' in head


def read_helm(path: Path, metric: str | None) -> list[Row]:
    """Return the rows of a run of HELM, from the folder with its files.

    `scenario_state.json` has questions and answers, and `per_instance_stats.json` scores. Without these, an answer is
    right if it is, or stands for, a reference that is tagged as correct. Where there is no state,
    `display_predictions.json` and `instances.json` are read. Perturbed instances are left out.

    Raises:
        InputError: a file is missing or is not of that form.
    """
    folder = path.parent
    state = path if path.name not in HELM_FILES else folder / "scenario_state.json"
    try:
        if state.is_file():
            stats = folder / "per_instance_stats.json"
            scored = _stats(_json(stats)) if stats.is_file() and state.name == "scenario_state.json" else {}
            return list(_states(state, _json(state), scored, metric))
        return list(_displayed(folder, metric))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a run of HELM: {type(error).__name__} {error}") from error


def _states(path: Path, state: Any, scored: Mapping[Any, Mapping[str, float]], metric: str | None) -> Iterator[Row]:
    about = _about(path.parent)
    done = set[Any]()
    for number, each in enumerate(state["request_states"], 1):
        instance, result = each["instance"], each.get("result")
        key = (instance["id"], each.get("train_trial_index", 0))
        stats = scored.get(key, {})
        chosen = each.get("reference_index") in (None, stats.get("predicted_index"))
        unwanted = instance.get("perturbation") or each.get("request_mode") == "calibration" or not chosen
        if unwanted or key in done or not result or not result.get("completions"):
            continue
        done.add(key)
        text = result["completions"][0]["text"]
        said = (each.get("output_mapping") or {}).get(text.strip(), text)
        asked, right = _text(instance["input"]), _right(instance)
        name = metric or (_metric(stats, f"{path}: {instance['id']}") if stats else None)
        score = stats.get(name) if name else float(_same(said) in map(_same, right)) if right else None
        seconds = result.get("request_time")
        yield {
            "row": number,
            "question": asked,
            "prompt": _with_options(asked, list((each.get("output_mapping") or {}).values())),
            "expert": each.get("request", {}).get("model") or state["adapter_spec"]["model"],
            "score": score,
            "gold": next(iter(right), None),
            "response": text,
            "prompt_tokens": stats.get("num_prompt_tokens"),
            "completion_tokens": stats.get("num_output_tokens", stats.get("num_completion_tokens")),
            "latency_ms": None if seconds is None else seconds * 1000,
            "field": name or "completions",
            **about,
        }


def _displayed(folder: Path, metric: str | None) -> Iterator[Row]:
    for name in ("display_predictions.json", "instances.json", "run_spec.json"):
        if not (folder / name).is_file():
            raise InputError(f"the run of HELM in {folder} has no {name}, and no scenario_state.json")
    about = _about(folder)
    model = _json(folder / "run_spec.json")["adapter_spec"]["model"]
    instances = {each["id"]: each for each in _json(folder / "instances.json") if not each.get("perturbation")}
    for number, each in enumerate(_json(folder / "display_predictions.json"), 1):
        instance = instances.get(each["instance_id"])
        if each.get("perturbation") or instance is None:
            continue
        asked, stats = _text(instance["input"]), each["stats"]
        name = metric or _metric(stats, f"{folder}/display_predictions.json: {each['instance_id']}")
        yield {
            "row": number,
            "question": asked,
            "prompt": asked,
            "expert": model,
            "score": stats.get(name),
            "gold": next(iter(_right(instance)), None),
            "response": each["predicted_text"],
            "field": name,
            **about,
        }


def _about(folder: Path) -> Row:
    """Return subject and dataset of a run, as its description names them."""
    described = folder / "run_spec.json"
    spec = _json(described) if described.is_file() else {}
    arguments = (spec.get("scenario_spec") or {}).get("args") or {}
    dataset = re.split("[:,]", str(spec.get("name") or ""))[0] or "helm"
    return {"subject": arguments.get("subject") or arguments.get("subset"), "dataset": dataset}


def _stats(per_instance: Sequence[Mapping[str, Any]]) -> dict[Any, dict[str, float]]:
    """Return the means of all statistics by instance and trial; those of perturbed instances are left out."""
    found: dict[Any, dict[str, float]] = {}
    for each in per_instance:
        if not each.get("perturbation"):
            stats = found.setdefault((each["instance_id"], each.get("train_trial_index", 0)), {})
            for stat in each["stats"]:
                if not stat["name"].get("perturbation") and stat.get("mean") is not None:
                    stats[stat["name"]["name"]] = stat["mean"]
    return found


def _metric(row: Mapping[str, Any], where: str) -> str:
    """Return the metric that says if an answer is right."""
    there = [name for name in _METRICS if row.get(name) is not None]
    if not there:
        listed = _parsed(row.get("metrics"))
        names = ", ".join(map(str, listed if isinstance(listed, list) and listed else row)) or "none"
        raise InputError(f"{where}: none of its metrics is a known score ({names}): name it with map= METRIC=score")
    return there[0]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def _text(content: Any) -> str:
    """Return the text of an input or an output of HELM, which older versions have without an object around it."""
    return str(content["text"] if isinstance(content, dict) else content)


def _right(instance: Mapping[str, Any]) -> list[str]:
    return [_text(each["output"]) for each in instance.get("references", ()) if "correct" in each.get("tags", ())]


def _same(text: str) -> str:
    return " ".join(text.casefold().split())


def _parsed(value: Any) -> Any:
    """Return a value that stands as JSON text in a table; other text as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _first(value: Any) -> str | None:
    """Return the first text in lists of lists."""
    value = _parsed(value)
    while isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) else None


def _argument(row: Mapping[str, Any]) -> str | None:
    """Return the text of the first request of lm-eval, as its older and its newer versions write it."""
    arguments = _parsed(row.get("arguments"))
    if isinstance(arguments, dict):
        arguments = [list(each.values()) for each in arguments.values() if isinstance(each, dict)]
    return _first(arguments)


def _options(doc: Mapping[str, Any]) -> list[str]:
    """Return the options of a question, which are a list, or a list in an object with their labels."""
    options = doc.get("choices") or doc.get("options")
    if isinstance(options, dict):
        options = options.get("text")
    return [str(option) for option in options] if isinstance(options, list) else []


def _with_options(asked: str | None, options: Sequence[str]) -> str | None:
    if asked is None or not options or len(options) > len(_LETTERS):
        return asked
    return "\n".join([asked, *(f"{letter}. {text}" for letter, text in zip(_LETTERS, options, strict=False))])


def _answer(response: str | None) -> str:
    """Return the answer in the JSON that ZeroEval has models write; nothing where there is none."""
    for start in (match.start() for match in re.finditer("{", response or "")):
        try:
            said, _ = _DECODER.raw_decode(response or "", start)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict) and "answer" in said:
            return str(said["answer"])
    broken = _ANSWER.findall(response or "")
    return broken[-1].strip().strip('"') if broken else ""


def _bare(text: str) -> str:
    return text.strip().strip("'\"").replace("\n", "\\n")
