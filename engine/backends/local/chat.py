"""Chat: the conversation of a request as tokens of a local model, by the model's own chat template."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from leeroo.engine.backends.completions import Request, failed_completion, fold_system, thinks
from leeroo.engine.backends.decisions import decisions_complaint
from leeroo.engine.backends.thoughts import NO_THOUGHTS, has_marks, keep_marks, opens_thoughts
from leeroo.engine.effort import level_of, thinking_tokens

# What the parameter `reasoning_effort` of a chat template accepts.
_EFFORTS = ("low", "medium", "high")

# Parameters by which templates turn thoughts on and off, and how such a template reads.
_SWITCHES = {"enable_thinking": "enable_thinking", "thinking": "thinking is"}
_THINKS = re.compile("think|reasoning", re.IGNORECASE)
# Tokens at the end of a prompt among which opened thoughts show.
_LAST_TOKENS = 8

ChatMessage = dict[str, Any]


class UnsupportedRequest(ValueError):
    """Raised for a request that this model cannot take; another expert may."""


def tokens_of(requests: list[Request], tokenizer: Any) -> tuple[list[tuple[Request, list[int]]], list[dict[str, Any]]]:
    """Return the requests with their tokens, and the completions of those that the model cannot take."""
    written: dict[bool, list[tuple[Request, str]]] = {False: [], True: []}
    refused = []
    for request in requests:
        chats = tokenizer.chat_template is not None and not request.raw
        if (why := decisions_complaint(request.decisions)) is not None:
            refused.append(failed_completion(request, why))
            continue
        try:
            text = _chat(request, tokenizer) if chats else _text(request)
        except UnsupportedRequest as error:
            refused.append(failed_completion(request, str(error), bounced=True))
        except (AttributeError, KeyError, TypeError, ValueError):
            refused.append(failed_completion(request, "turns and after must be JSON lists of chat messages"))
        else:
            # JSON may hold half a character, which no tokenizer takes.
            written[chats].append((request, text.encode("utf-8", "replace").decode()))
    tokens = []
    for chats, pairs in written.items():
        if pairs:  # a chat template writes the special tokens itself
            ids = tokenizer([text for _, text in pairs], add_special_tokens=not chats)["input_ids"]
            tokens += [(request, row) for (request, _), row in zip(pairs, ids, strict=True)]
    refused += [failed_completion(request, "the prompt is empty") for request, ids in tokens if not ids]
    return [(request, ids) for request, ids in tokens if ids], refused


def _chat(request: Request, tokenizer: Any) -> str:
    """Write the conversation by the template; in a plainer form where the template refuses it."""
    template = str(tokenizer.chat_template)
    messages = [_message(message, template) for message in request.messages]
    return _written(request, tokenizer, template, (messages, _plainer(messages)))


def write_with_images(request: Request, processor: Any) -> str:
    """Write the conversation of a request with images, each as the text by which the model's processor knows it.

    Raises:
        UnsupportedRequest: the model cannot take it.

    """
    messages = [{**message, "content": _parts(message)} for message in request.messages]
    template = processor.chat_template or processor.tokenizer.chat_template
    if template is None:
        shown = (str(part.get("text", processor.image_token)) for message in messages for part in message["content"])
        return "".join(shown)
    return _written(request, processor.tokenizer, str(template), (messages, fold_system(messages)))


def _parts(message: ChatMessage) -> list[dict[str, Any]]:
    """Return the content of a message as parts, which templates of such models want of every message."""
    content = message.get("content")
    if not isinstance(content, list):
        return [{"type": "text", "text": content or ""}]
    return [{"type": "image"} if part["type"] == "image" else part for part in content]


def _written(request: Request, tokenizer: Any, template: str, chats: Sequence[list[ChatMessage]]) -> str:
    """Return a conversation as the template writes it, in the first of some ways that it does not refuse."""
    messages = chats[0]
    # The first token of a choice or of JSON is that of the answer.
    forms = (request.choices, request.json_schema, request.decisions)
    formed = not thinks(request) and any(form is not None for form in forms)
    options: dict[str, Any] = _effort(request.reasoning_effort, template, formed=formed)
    # The model continues an answer that has begun; otherwise the template opens the assistant's turn.
    begun = messages[-1]["role"] == "assistant"
    options |= {"continue_final_message": begun, "add_generation_prompt": not begun, "tokenize": False}
    refusals = []
    for chat in chats:
        try:
            text = str(tokenizer.apply_chat_template(chat, chat_template=template, **options))
        except Exception as error:  # noqa: BLE001 - a template is a foreign program: it may raise anything
            refusals.append(str(error).strip() or type(error).__name__)
            continue
        # Some templates pass over a role that they do not know.
        if all(_plain(message["content"]).strip() in text for message in chat if message["role"] == "system"):
            return text + NO_THOUGHTS if formed and opens_thoughts(text) else text
        refusals.append("it leaves out the system text")
    raise UnsupportedRequest(f"the model's chat template refuses this conversation: {refusals[0].splitlines()[0]}")


def _text(request: Request) -> str:
    if request.reasoning_effort is not None:
        raise UnsupportedRequest("reasoning_effort: this model has no chat template that knows it")
    return "\n\n".join(_content(message) for message in request.messages)


def _message(message: ChatMessage, template: str) -> ChatMessage:
    """Return a message as chat templates want it: plain text, tool calls with their arguments as objects."""
    calls = message.get("tool_calls")
    if calls and "tool_calls" not in template:
        raise UnsupportedRequest("tool_calls: the model's chat template does not know them")
    role = "system" if message["role"] == "developer" else message["role"]
    whole = {**message, "role": role, "content": _content(message)}
    return {**whole, "tool_calls": [_call(call) for call in calls]} if calls else whole


def _content(message: ChatMessage) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    for part in parts:
        if part.get("type") != "text":
            raise UnsupportedRequest(f"this model reads text only, not parts of type {part.get('type')!r}")
    return "\n".join(str(part["text"]) for part in parts)


def _plain(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _call(call: ChatMessage) -> ChatMessage:
    try:
        arguments = json.loads(call["function"]["arguments"])
    except (TypeError, ValueError):  # an object already, or text that is no JSON
        return call
    return {**call, "function": {**call["function"], "arguments": arguments}}


def _plainer(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return the same without a system role, and without two turns of one role in a row."""
    plain: list[ChatMessage] = []
    for turn in fold_system(messages):
        if plain and turn.keys() == plain[-1].keys() == {"role", "content"} and turn["role"] == plain[-1]["role"]:
            turn = {**turn, "content": f"{plain.pop()['content']}\n\n{turn['content']}"}
        plain.append(turn)
    return plain


def _effort(effort: str | None, template: str, *, formed: bool) -> dict[str, Any]:
    """Return the template's parameters for a reasoning effort; an answer of a given form begins without a thought."""
    if effort is None and not formed:
        return {}
    level = "none" if effort is None else level_of(effort)
    options: dict[str, Any] = {name: level != "none" for name, sign in _SWITCHES.items() if sign in template}
    if level in _EFFORTS and "reasoning_effort" in template:
        options["reasoning_effort"] = level
    if effort is not None and level != "none" and "thinking_budget" in template:
        options["thinking_budget"] = thinking_tokens(effort)
    # A model that never thinks does as "none" says.
    if options or effort is None or (level == "none" and not _THINKS.search(template)):
        return options
    raise UnsupportedRequest(f"reasoning_effort: the model's chat template does not know {effort!r}")


def decode_text(tokenizer: Any, tokens: list[int]) -> str:
    """Return generated text without special tokens; those around thoughts stay."""
    special = tokenizer.all_special_tokens
    if not has_marks(special):
        return str(tokenizer.decode(tokens, skip_special_tokens=True))
    return keep_marks(str(tokenizer.decode(tokens)), special)


def count_tokens(tokenizer: Any, text: str) -> int:
    """Return the number of tokens of a text."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def begins_in_thoughts(tokenizer: Any, prompt: list[int]) -> bool:
    """Return whether the tokens of a prompt end by opening thoughts."""
    return opens_thoughts(str(tokenizer.decode(prompt[-_LAST_TOKENS:])))
