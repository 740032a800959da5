"""Replies of APIs: reads whatever comes back, and turns it into one row of completions.

Servers differ from OpenAI in types and names. This module uses what it understands. Anything else is the row's error,
and is billed as far as the reply reports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError, model_validator

from leeroo.engine.backends.api.bills import Bill, read_usage, table_or_empty
from leeroo.engine.backends.api.faults import Fault, line, storable
from leeroo.engine.backends.api.tokens import choice_logprobs, decision_logprobs, read_tokens, write_tokens
from leeroo.engine.backends.completions import RAN_OUT, Request, in_form
from leeroo.engine.backends.decisions import read_decisions
from leeroo.engine.backends.thoughts import split_thoughts

# Names that servers have for how an answer ended. Any other is a stop, if there is an answer.
_LENGTH = ("length", "max_tokens", "max_output_tokens", "model_length", "max_length")
_FILTERED = ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "guardrail_intervened")
_TOOLS = ("tool_calls", "tool_use", "function_call")
_FAILED = ("error", "malformed_function_call", "insufficient_system_resource")


def _join_texts(value: Any) -> Any:
    """Return the text of a content: itself, or its parts that are text, joined."""
    if not isinstance(value, list) or not all(isinstance(part, str | dict) for part in value):
        return value
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in value]
    return "".join(str(part.get("text") or "") for part in parts if part.get("type", "text") in ("text", "output_text"))


def _join_thoughts(value: Any) -> str | None:
    """Return the text of thoughts: itself, that of a table with it, or that of the parts of a content that are some."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, dict):
        return _join_thoughts(value.get("content"))
    parts = [part.get("thinking") for part in value if isinstance(part, dict)] if isinstance(value, list) else []
    return "".join(part if isinstance(part, str) else str(_join_texts(part) or "") for part in parts)


def _text_or_none(value: Any) -> Any:
    """Return a value that is text, None for any other."""
    return value if isinstance(value, str) else None


class ReplyMessage(BaseModel):
    """The message of a reply."""

    content: Annotated[str | None, BeforeValidator(_join_texts)] = None
    refusal: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    reasoning_content: Annotated[str | None, BeforeValidator(_join_thoughts)] = None
    reasoning: Annotated[str | None, BeforeValidator(_join_thoughts)] = None
    in_parts: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _keep_thoughts_of_parts(cls, message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) else None
        return {**message, "in_parts": _join_thoughts(content)} if isinstance(content, list) else message

    @property
    def thoughts(self) -> str:
        """The thoughts that the API gives apart from the answer."""
        return storable(self.reasoning_content or self.reasoning or self.in_parts or "")


class ReplyChoice(BaseModel):
    """The first choice of a reply."""

    message: ReplyMessage | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None


def parse_reply(body: bytes, kind: str = "") -> dict[str, Any]:
    """Read the body of a reply with status 200.

    Args:
        body: JSON, or an event stream, which some servers send on their own.
        kind: Its content type.

    Raises:
        Fault: it is neither.

    """
    text = body.decode(errors="replace").strip("\ufeff \t\r\n")
    if "event-stream" in kind or text.startswith(("data:", "event:")):
        return _join_events(text)
    if text.startswith("<"):
        found = re.search(r"<title[^>]*>\s*([^<]*?)\s*</title", text, re.IGNORECASE)
        title = f" ({line(found[1])})" if found else ""
        raise Fault(
            f"the API answered with a web page{title} instead of JSON: see whether base_url is right", passes=True
        )
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        what = "is empty" if not text else "breaks off or is not JSON"
        raise Fault(f"the API's reply {what}", passes=True, unsure=True) from None
    if not isinstance(reply, dict):
        raise Fault(f"the API's reply is JSON, but no chat completion: {line(text[:80])}", unsure=True)
    return reply


def _join_events(text: str) -> dict[str, Any]:
    """Join the events of a stream into one reply."""
    whole: dict[str, Any] = {}
    content: list[str] = []
    choice: dict[str, Any] = {}
    for event in _events(text):
        whole.update({name: event[name] for name in ("usage", "error") if event.get(name)})
        choices = event.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, dict):
            continue
        delta = table_or_empty(first.get("delta"))
        content += [each for each in (_join_texts(delta.get("content")), first.get("text")) if isinstance(each, str)]
        choice.update({name: first[name] for name in ("finish_reason", "logprobs") if first.get(name)})
    if "error" in whole:
        return {
            **whole,
            "choices": [{"message": {"content": "".join(content)}, "finish_reason": "error"}] if content else [],
        }
    return {**whole, "choices": [{**choice, "message": {"content": "".join(content)}}]}


def _events(text: str) -> Iterable[dict[str, Any]]:
    for row in text.splitlines():
        data = row.removeprefix("data:").strip()
        if not row.startswith("data:") or data == "[DONE]":
            continue
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise Fault("the API's event stream breaks off", passes=True, unsure=True) from None
        if isinstance(event, dict):
            yield event


def completion(request: Request, reply: dict[str, Any], bill: Bill) -> dict[str, Any]:
    """Return the completion of a reply, and add its usage to the bill.

    Raises:
        Fault: it holds no answer, in words for the row.

    """
    reply = _as_chat(reply)
    usage = read_usage(reply.get("usage"), reply.get("service_tier"))
    try:
        choice = _first_choice(reply)
    except Fault:
        bill.add(usage, request, "")
        raise
    message = choice.message or ReplyMessage(content=choice.text)
    tagged, answer = split_thoughts(storable(message.content or ""))
    thoughts = message.thoughts or tagged
    bill.add(usage, request, answer, thoughts)
    _check_answer(answer, choice, message)
    row: dict[str, Any] = {"id": request.id, "finish_reason": "length" if _end_of(choice) in _LENGTH else "stop"}
    try:
        row |= {"answer": in_form(request, answer, row["finish_reason"]), "reasoning": thoughts or None}
    except ValueError as error:
        raise Fault(line(str(error)), blames="row") from None
    tokens = read_tokens(choice.logprobs)
    if request.choices is not None:
        return {**row, "choice_logprobs": choice_logprobs(request.choices, row["answer"], tokens)}
    if request.decisions is not None:
        return {**row, "choice_logprobs": decision_logprobs(read_decisions(request.decisions), row["answer"], tokens)}
    return {**row, "logprobs": write_tokens(tokens) if request.top_logprobs is not None else None}


def _as_chat(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply in the form of OpenAI's chat API; that of Ollama's own API has other names."""
    message = reply.get("message")
    if "choices" in reply or not isinstance(message, dict):
        return reply
    counts = {"prompt_tokens": reply.get("prompt_eval_count"), "completion_tokens": reply.get("eval_count")}
    message = {"reasoning": message.get("thinking"), **message}
    return {"choices": [{"message": message, "finish_reason": reply.get("done_reason")}], "usage": counts}


def _first_choice(reply: dict[str, Any]) -> ReplyChoice:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise Fault(f"the API's reply holds no answer, only: {line(', '.join(reply)) or 'nothing'}")
    try:
        choice = ReplyChoice.model_validate(choices[0])
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(part) for part in ("choices", 0, *wrong["loc"]))
        raise Fault(f"the API's reply is no chat completion: {place}: {line(wrong['msg'])}") from None
    if choice.message is None and choice.text is None:
        raise Fault("the API's reply holds no answer: its choice has no message")
    return choice


def _end_of(choice: ReplyChoice) -> str:
    return (choice.finish_reason or "stop").strip().casefold()


def _check_answer(answer: str, choice: ReplyChoice, message: ReplyMessage) -> None:
    """Check that there is an answer, and that it can be used.

    Raises:
        Fault: it is not so.

    """
    ended = _end_of(choice)
    if message.refusal and not answer:
        raise Fault(f"the model refused: {line(message.refusal)}", blames="row")
    if ended in _FILTERED:
        raise Fault("the provider's content filter stopped the answer", blames="row")
    if ended in _TOOLS:
        raise Fault("the model called a tool instead of answering", blames="row")
    if ended in _FAILED:
        raise Fault(f"the provider broke off the answer (finish reason {ended!r})")
    if answer:
        return
    if ended in _LENGTH:
        raise Fault(RAN_OUT)
    # One prompt can bring a model to give no text at all; a model that gives an empty one may do so for every prompt.
    if message.content is None:
        raise Fault(f"the API gave no answer (finish reason {ended!r})", blames="row")
    raise Fault("empty answer")
