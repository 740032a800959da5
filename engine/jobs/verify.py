"""Verify: whether an answer is right, where that can be computed.

Code runs in a process of its own, with little memory, little time, an empty folder, and no leave to open files for
writing, to connect or to start others. That keeps the accidents of a model away from the machine; it is no wall
against an attacker.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from typing import Literal

Check = Literal["exact", "numeric", "choice", "code"]

# Two numbers are the same up to that part of them.
_CLOSE = 1e-6
_CODE_S, _CODE_GIB = 5, 0.5
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FENCED = re.compile(r"```(?:python|py)?\s*\n(.*?)```", re.DOTALL)
# What follows the last of these is the answer, the rest is how it was found.
_ANSWER = re.compile(r"(?i)\banswer(?:\s+is)?\s*:?")
_RUN = """
import json, resource, sys
told = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (told["seconds"], told["seconds"]))
resource.setrlimit(resource.RLIMIT_AS, (told["bytes"], told["bytes"]))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
out = sys.stdout
sys.stdout = None
code = compile(told["code"], "answer", "exec")
allowed = ("import", "compile", "exec", "marshal.", "object.", "code.", "builtins.id")
def watch(event, args):
    reading = event == "open" and isinstance(args[1], str) and set(args[1]) <= set("rbt")
    if not reading and not event.startswith(allowed):
        raise PermissionError(event)
space = {"__name__": "answer"}
sys.addaudithook(watch)
exec(code, space)
results = []
for arguments, wanted in told["cases"]:
    try:
        results.append(json.loads(json.dumps(space[told["function"]](*arguments))) == wanted)
    except Exception:
        results.append(False)
out.write(json.dumps([bool(result) for result in results]))
"""


def score(answer: str | None, right: str, check: Check) -> float:
    """1 where an answer is right, else 0; of code the share of its unit tests that pass.

    Args:
        answer: As an expert gave it; where it says "Answer:", what comes after the last of those.
        right: A number, the letter of a choice, texts of which one must be in the answer with ';' between, or for code
            a JSON object of the name of the `function` and `cases`, a list of pairs of its arguments and its result.
        check: How they are compared.

    """
    if answer is None:
        return 0.0
    if check == "code":
        return _passed(answer, right)
    said = _ANSWER.split(answer)[-1] or answer
    if check == "numeric":
        found, wanted = _number(said), _number(right)
        return float(found is not None and wanted is not None and abs(found - wanted) <= _CLOSE * max(1, abs(wanted)))
    if check == "choice":
        letters = re.findall(r"\b([A-Z])\b", said)
        return float(bool(letters) and letters[0] == right.strip())
    return float(says(said, right))


def check_for(right: str) -> Check:
    """How answers are compared with what is right, by its form: a number, a letter from A to J, or text."""
    if _NUMBER.fullmatch(right.strip()):
        return "numeric"
    return "choice" if re.fullmatch("[A-J]", right.strip()) else "exact"


def says(text: str, right: str) -> bool:
    """Whether a text names one of those that are right, with ';' between; of yes and no, the one said last counts."""
    plain, allowed = _plain(text), [one for one in map(_plain, right.split(";")) if one]
    if not allowed:  # nothing but punctuation
        return right.strip() in text
    if allowed[0] in ("yes", "no"):
        verdicts = re.findall(r"\b(?:yes|no)\b", plain)
        return bool(verdicts) and verdicts[-1] == allowed[0]
    return any(re.search(rf"(?<![a-z0-9.]){re.escape(one)}(?![a-z0-9])", plain) for one in allowed)


def final(answer: str) -> str:
    """What an answer says in the end, in a form in which answers that say the same are mostly equal."""
    return " ".join(_plain(_ANSWER.split(answer)[-1] or answer).split())


def _number(text: str) -> float | None:
    """The last number in a text; None where there is none."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def _plain(text: str) -> str:
    """Lower case, without separators in numbers and without punctuation."""
    return re.sub(r"[^\w.#+ ]|_", " ", re.sub(r"(?<=\d),(?=\d)", "", text.casefold())).strip(" .")


def _passed(answer: str, right: str) -> float:
    """The share of the unit tests that the code in an answer passes."""
    fenced = _FENCED.findall(answer)
    asked = {
        **json.loads(right),
        "code": "\n".join(fenced) if fenced else answer,
        "seconds": _CODE_S,
        "bytes": int(_CODE_GIB * 2**30),
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _RUN],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                cwd=folder,
                env={},
                timeout=2 * _CODE_S,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return 0.0
    try:
        passed = json.loads(done.stdout)
    except ValueError:
        return 0.0
    return float(sum(passed) / len(passed))
