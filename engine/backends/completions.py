"""Requests and completions as Python rows, for backends that work row by row.

It also reads which choice a free text names, and writes the completions of rows that fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from leeroo.engine.backends.choices import ChoiceTree, likeliest
from leeroo.engine.backends.schemas import complaint
from leeroo.engine.backends.thoughts import Parts
from leeroo.engine.schema import COMPLETIONS


@dataclass(frozen=True)
class Request:
    """One row of `schema.REQUESTS`."""

    id: int
    question: str
    prompt: str
    system: str | None
    max_tokens: int
    temperature: float
    choices: list[str] | None = None
    json_schema: str | None = None
    raw: bool = False
    turns: str | None = None
    after: str | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    top_logprobs: int | None = None
    adapter: str | None = None
    shared_chars: int | None = None

    @property
    def messages(self) -> list[Any]:
        """The request as a chat: dicts of role and content."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        before, after = ([] if text is None else json.loads(text) for text in (self.turns, self.after))
        return [*system, *before, {"role": "user", "content": self.prompt}, *after]


def requests_of(batch: pa.RecordBatch) -> list[Request]:
    """Return the rows of a batch of requests."""
    return [Request(**row) for row in batch.to_pylist()]


def fold_system(messages: list[Any]) -> list[Any]:
    """Return a chat without the role `system`: its texts stand in front of the user's next turn."""
    folded: list[Any] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            waiting.append(_text(message.get("content")))
        elif message["role"] == "user" and waiting:
            folded.append({**message, "content": _before("\n\n".join(waiting), message.get("content"))})
            waiting = []
        else:
            folded.append(message)
    return folded


def _before(text: str, content: Any) -> Any:
    """Return the content of a message with a text in front of it."""
    return [{"type": "text", "text": text}, *content] if isinstance(content, list) else f"{text}\n\n{content}"


def _text(content: Any) -> str:
    """Return the text of a message's content."""
    if not isinstance(content, list):
        return str(content)
    return "".join(part.get("text", "") for part in content)


def completion_batch(rows: Iterable[dict[str, Any]]) -> pa.RecordBatch:
    """Return a batch of completions; what a row leaves out is NULL, and it did not bounce."""
    return pa.RecordBatch.from_pylist([{"bounced": False, **row} for row in rows], schema=COMPLETIONS)


def choice_tree(request: Request, tokenizer: Any, end: int) -> ChoiceTree | None:
    """Return the choices of a request as tokens; the token `end` ends an answer.

    None for no choices, and for a request that the model is to think about: it names its choice in free text.
    """
    if not request.choices or thinks(request):
        return None
    if not request.raw:
        return ChoiceTree([tuple(tokenizer(c, add_special_tokens=False)["input_ids"]) for c in request.choices], end)
    # Text goes on with a space, which most tokenizers join with the word after it into one token.
    line = request.prompt.rpartition("\n")[2]
    before = len(tokenizer(line, add_special_tokens=False)["input_ids"])
    lines = [f"{line} {choice}" for choice in request.choices]
    return ChoiceTree([tuple(ids[before:]) for ids in tokenizer(lines, add_special_tokens=False)["input_ids"]], end)


def choice_completion(request: Request, tree: ChoiceTree, scores: list[float]) -> dict[str, Any]:
    """Return the completion of a request with choices, from the log probability of each."""
    best = likeliest(scores)
    return {
        "id": request.id,
        "answer": (request.choices or [])[best],
        "completion_tokens": len(tree.texts[best]),
        "finish_reason": "stop",
        "choice_logprobs": scores,
    }


# What people and models put around a choice: quotes, brackets, Markdown, and words that introduce it.
_AROUND = " \t\n\"'`*_()[]{}<>.,:;!\u201c\u201d\u2018\u2019"
_BEFORE = re.compile(
    r"^(?:(?:so|thus|therefore|hence),? )?(?:the |my |final |correct |best )*"
    r"(?:answer|choice|option|label|category|class)(?: (?:is|would be|should be))?\b[\s:=*_\-]*",
    re.IGNORECASE,
)
_INTRODUCTIONS = 3  # in a row: "The answer is option (A)"


def find_choice(answer: str, choices: list[str], prompt: str = "") -> str | None:
    """Return the choice that free text names, None where it names none.

    The text begins with it, as a word of its own; the longest counts where several fit. Quotes, brackets and words
    such as "The answer is" may stand before it. A choice that the prompt lists as "A. text" is named by its text too.
    """
    text = answer.strip().casefold()
    if (found := _leading_choice(text, choices)) is not None:
        return found
    bare = _bare(text)
    if (found := _leading_choice(bare, choices)) is not None:
        return found
    texts = {listed: choice for choice in choices if (listed := _bare(_listed_text(choice, prompt)))}
    return texts.get(bare)


_FENCE = re.compile(r"\s*```[\w-]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


def in_form(request: Request, answer: str) -> str:
    """Return an answer in the form that its request wants: one of the choices, or JSON without a fence around it.

    Raises:
        ValueError: it has another.

    """
    if request.choices is not None:
        if (choice := find_choice(answer, request.choices, request.prompt)) is None:
            raise ValueError(f"the answer {answer[:80]!r} is none of the choices")
        return choice
    if request.json_schema is None:
        return answer
    fenced = _FENCE.fullmatch(answer)
    bare = fenced[1].strip() if fenced else answer
    if (why := complaint(bare, request.json_schema)) is not None:
        raise ValueError(why)
    return bare


def _leading_choice(text: str, choices: list[str]) -> str | None:
    fits = [choice for choice in choices if re.match(re.escape(choice.strip().casefold()) + r"(?!\w)", text)]
    return max(fits, key=len) if fits else None


# Why there is no answer, where a model has used all its tokens for something else.
RAN_OUT = "ended by length before an answer: raise max_tokens, or lower the effort"


def text_completion(request: Request, row: dict[str, Any], parts: Parts, count: Callable[[str], int]) -> dict[str, Any]:
    """Return the completion of a generated text; one without an answer is an error, and its tokens still count.

    Args:
        request: The request.
        row: The other columns.
        parts: The thoughts and the answer in the text.
        count: Returns the number of tokens of a text.

    """
    thoughts, answer = parts
    if thoughts:  # text that no token begins anew may have more tokens than were generated
        row |= {"reasoning": thoughts, "reasoning_tokens": min(count(thoughts), row["completion_tokens"])}
    if not answer:
        ran_out = row["finish_reason"] == "length"
        why = RAN_OUT if ran_out else "empty answer"
        return {**row, "finish_reason": "error", "error": why, "bounced": ran_out}
    if not thinks(request):  # else the answer was free text
        return {**row, "answer": answer}
    try:
        return {**row, "answer": in_form(request, answer)}
    except ValueError as error:
        return {**row, "finish_reason": "error", "error": str(error)}


def thinks(request: Request) -> bool:
    """Return whether a model is to think before it answers, so that no form can be forced upon its first tokens."""
    return request.reasoning_effort not in (None, "none", "0")


def _bare(text: str) -> str:
    """Return a text without what is put around a choice."""
    text = text.casefold().strip(_AROUND)
    for _ in range(_INTRODUCTIONS):
        text = _BEFORE.sub("", text, count=1).strip(_AROUND)
    return text


def _listed_text(choice: str, prompt: str) -> str:
    """Return the text that a prompt lists behind a letter."""
    lines = re.findall(rf"^{re.escape(choice)}[.)] (.+)$", prompt, re.MULTILINE)
    return lines[-1] if lines else ""


def failed_completion(request: Request, error: str, *, bounced: bool = False) -> dict[str, Any]:
    """Return the completion of a request that got no answer."""
    return {"id": request.id, "finish_reason": "error", "error": error, "bounced": bounced}


def too_long_completion(request: Request, tokens: int, context: int) -> dict[str, Any]:
    """Return the completion of a request that is too long for the expert's context: another expert may take it."""
    error = f"the prompt has {tokens:,} tokens and the context of this expert holds {context:,}; shorten it"
    return failed_completion(request, error, bounced=True)
