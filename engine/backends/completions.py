"""Requests and completions as Python rows, for backends that work row by row.

It also brings answers into the form that a request wants, and writes the completions of rows that fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from leeroo.engine.backends.choices import ChoiceTree, Tokens, find_choice, likeliest, split_lists
from leeroo.engine.backends.decisions import find_decisions, likeliest_answer, read_decisions, replies
from leeroo.engine.backends.schemas import complaint, without_fence
from leeroo.engine.backends.thoughts import Parts
from leeroo.engine.images.marks import split_at_marks
from leeroo.engine.images.shown import ShownImage
from leeroo.engine.schema import COMPLETIONS

# A prompt that is longer than the context: in our own words, and those of OpenAI, vLLM, SGLang, llama.cpp, TGI,
# Anthropic, Gemini, ...
TOO_LONG = re.compile(
    "|".join(
        (
            r"the context of this expert holds",
            r"context[ _-]*(length|size|window|limit)",
            r"reduce the length of",
            r"longer than the maximum",
            r"(prompt|input)[^.]{0,40} is too long",
            r"tokens \+ `?max_new_tokens",
            r"token count[^.]{0,40} exceeds",
            r"too many (input |prompt )?tokens",
            r"string_above_max_length",
        )
    ),
    re.IGNORECASE,
)
# More bytes, or more tokens at once, than a server takes.
_TOO_LARGE = re.compile(r"^413\b|request too large", re.IGNORECASE)
# What the embedded backend says of a row for which memory runs out.
NO_MEMORY = "the device's memory does not suffice for this row; shorten it"


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
    decisions: str | None = None
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
    images: Sequence[ShownImage] = ()
    image_tokens: int = 0  # of its images, where its backend counts them before it sends them

    @property
    def messages(self) -> list[Any]:
        """The request as a chat: dicts of role and content, which has parts where there are images."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        before, after = ([] if text is None else json.loads(text) for text in (self.turns, self.after))
        return [*system, *before, {"role": "user", "content": self._content}, *after]

    @property
    def _content(self) -> Any:
        if not self.images:
            return self.prompt
        return [
            {"type": "text", "text": each} if isinstance(each, str) else {"type": "image", "image": each}
            for each in self._parts
        ]

    @property
    def placed_images(self) -> list[ShownImage]:
        """The images in the order in which they stand in the prompt."""
        return [self.images[each] for each in self._parts if isinstance(each, int)]

    @property
    def _parts(self) -> list[str | int]:
        return split_at_marks(self.prompt, [image.mark for image in self.images])


def requests_of(batch: pa.RecordBatch) -> list[Request]:
    """Return the rows of a batch of requests."""
    return [
        Request(**{**row, "images": [ShownImage(**each) for each in row["images"] or ()]}) for row in batch.to_pylist()
    ]


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
    if thinks(request):
        return None
    if request.decisions is not None:
        return ChoiceTree(
            [_tokens(each, request, tokenizer) for each in replies(read_decisions(request.decisions))], end
        )
    return ChoiceTree([_tokens(request.choices, request, tokenizer)], end) if request.choices else None


def _tokens(texts: list[str], request: Request, tokenizer: Any) -> list[Tokens]:
    """Return the tokens of texts that may follow a prompt."""
    if not request.raw:
        return [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    # Text goes on with a space, which most tokenizers join with the word after it into one token.
    line = request.prompt.rpartition("\n")[2]
    before = len(tokenizer(line, add_special_tokens=False)["input_ids"])
    lines = [f"{line} {text}" for text in texts]
    return [tuple(ids[before:]) for ids in tokenizer(lines, add_special_tokens=False)["input_ids"]]


def choice_completion(request: Request, tree: ChoiceTree, scores: list[float]) -> dict[str, Any]:
    """Return the completion of a request with choices, from the log probability of each."""
    own = list(split_lists(scores, tree.lists))
    best = [likeliest(each) for each in own]
    decided = request.decisions and likeliest_answer(read_decisions(request.decisions), scores)
    return {
        "id": request.id,
        "answer": decided or (request.choices or [])[best[0]],
        "completion_tokens": sum(len(texts[at]) for texts, at in zip(tree.lists, best, strict=True)),
        "finish_reason": "stop",
        "choice_logprobs": scores,
    }


def in_form(request: Request, answer: str, finish_reason: str) -> str:
    """Return an answer in the form that its request wants: a choice, JSON without a fence around it, or decisions.

    Raises:
        ValueError: it has another.

    """
    if request.choices is not None:
        if (choice := find_choice(answer, request.choices, request.prompt)) is None:
            raise ValueError(f"the answer {answer[:80]!r} is none of the choices")
        return choice
    if request.decisions is not None:
        return find_decisions(answer, read_decisions(request.decisions))
    if request.json_schema is None:
        return answer
    bare = without_fence(answer)
    if (why := complaint(bare, request.json_schema, finish_reason)) is not None:
        raise ValueError(why)
    return bare


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
        return {**row, "answer": in_form(request, answer, row["finish_reason"])}
    except ValueError as error:
        return {**row, "finish_reason": "error", "error": str(error)}


def thinks(request: Request) -> bool:
    """Return whether a model is to think before it answers, so that no form can be forced upon its first tokens."""
    return request.reasoning_effort not in (None, "none", "0")


def failed_completion(request: Request, error: str, *, bounced: bool = False) -> dict[str, Any]:
    """Return the completion of a request that got no answer."""
    return {"id": request.id, "finish_reason": "error", "error": error, "bounced": bounced}


def is_too_long(error: str | None) -> bool:
    """Return whether a row's error says that a shorter prompt would have been answered."""
    if error is None:
        return False
    return error == NO_MEMORY or bool(TOO_LONG.search(error) or _TOO_LARGE.search(error))


def too_long_completion(request: Request, tokens: int, context: int) -> dict[str, Any]:
    """Return the completion of a request that is too long for the expert's context: another expert may take it."""
    error = f"the prompt has {tokens:,} tokens and the context of this expert holds {context:,}; shorten it"
    return failed_completion(request, error, bounced=True)
