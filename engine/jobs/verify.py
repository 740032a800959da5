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
from collections.abc import Sequence
from typing import Literal

Check = Literal["exact", "numeric", "choice", "code"]

# Two numbers are the same up to that part of them.
_CLOSE = 1e-6
_CODE_S, _CODE_GIB = 5, 0.5
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FENCED = re.compile(r"```(?:python|py)?\s*\n(.*?)```", re.DOTALL)
# What follows the last of these is the answer, the rest is how it was found; "206 is the answer" announces none.
_ANSWER = re.compile(r"(?i)\banswer\b(?:\s+is\b\s*:?|\W{0,3}[:=])")
_SENTENCE = re.compile(r"\n+|(?<=[.!?])\s+")
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


def score(answer: str | None, right: str, check: Check, choices: Sequence[str] = ()) -> float:
    """1 where an answer is right, else 0; of code the share of its unit tests that pass.

    Args:
        answer: As an expert gave it; where it says "Answer:" or "the answer is", what comes after the last of those.
        right: A number, the letter of a choice, texts of which one must be in the answer with ';' between, or for code
            a JSON object of the name of the `function` and `cases`, a list of pairs of its arguments and its result.
        check: How they are compared.
        choices: What the question names for an answer, where it does: to name them all is no answer then.

    """
    if answer is None:
        return 0.0
    if check == "code":
        return _passed(answer, right)
    said = final(answer)
    if check == "numeric":
        found, wanted = _number(said), _number(right)
        return float(found is not None and wanted is not None and abs(found - wanted) <= _CLOSE * max(1, abs(wanted)))
    if check == "choice":
        letters = re.findall(r"\b([A-Z])\b", said)
        return float(bool(letters) and letters[0] == right.strip())
    return float(says(said, right, choices))


def check_for(right: str) -> Check:
    """How answers are compared with what is right, by its form: a number, a letter from A to J, or text."""
    if _NUMBER.fullmatch(right.strip()):
        return "numeric"
    return "choice" if re.fullmatch("[A-J]", right.strip()) else "exact"


def says(text: str, right: str, choices: Sequence[str] = ()) -> bool:
    """Whether a text names one of those that are right, with ';' between.

    Of yes and no, the one said last counts. Of choices, the one that the last sentence with any of them is about ("Bob
    is taller than Ann"), or names last.
    """
    allowed = [one for one in map(plain, right.split(";")) if one]
    if not allowed:  # nothing but punctuation
        return right.strip() in text
    if allowed[0] in ("yes", "no"):
        verdicts = _named(plain(text), ("yes", "no"))
        return verdicts[-1:] == [allowed[0]]
    if choices:
        return _chosen(text, [plain(choice) for choice in choices]) in allowed
    return bool(_named(plain(text), allowed))


def final(answer: str) -> str:
    """What comes after the last announcement of the answer that something comes after; the whole without one."""
    parts = [part for part in _ANSWER.split(answer) if re.search(r"\w", part)]
    return parts[-1] if parts else answer


def _chosen(text: str, choices: Sequence[str]) -> str | None:
    sentences = [plain(sentence) for sentence in _SENTENCE.split(text)]
    for sentence in reversed(sentences):
        found = _named(sentence, choices)
        if found:
            about = re.match(rf"(?:the )?{re.escape(found[0])} (?:is|was|are|were|has|have|comes?|costs?)\b", sentence)
            return found[0] if about else found[-1]
    return None


def _named(plain: str, texts: Sequence[str]) -> list[str]:
    """Those of some texts that stand in another, in the order in which they do."""
    longest = sorted(filter(None, texts), key=len, reverse=True)
    return re.findall(rf"(?<![a-z0-9.])(?:{'|'.join(map(re.escape, longest))})(?![a-z0-9])", plain) if longest else []


def _number(text: str) -> float | None:
    """The last number in a text; None where there is none."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def plain(text: str) -> str:
    """Lower case, without separators in numbers, without punctuation, and with single spaces."""
    words = re.sub(r"[^\w.#+ ]|_", " ", re.sub(r"(?<=\d),(?=\d)", "", text.casefold())).split()
    return " ".join(words).strip(" .")


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
