"""A fake provider: a real HTTP server that speaks OpenAI's chat API, misbehaves on demand, and keeps its own account.

    provider.does["odd"] = "think_tags"           every prompt with this word in it
    provider.faults["shaky"] = [503, "cut_body"]  one after the other, then as usual; for ever with `repeat`
    provider.mix = {"ok": 8, "null_content": 1}   the rest by chance, the same for the same seed, prompt and attempt

`BEHAVIOURS` are the names; a number is an HTTP status. `bills` is what the provider's invoice would list.
"""

from __future__ import annotations

import json
import math
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.rate_limits import RateLimit

Usage = tuple[int, int]  # prompt and completion tokens
JSON = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request as it came in."""

    prompt: str
    body: JSON
    path: str
    headers: dict[str, str]
    attempt: int  # how often this prompt was sent before
    usage: Usage
    content: str
    logprobs: JSON | None
    reports: Any = None
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Reply:
    """What goes back, and what is billed for it."""

    body: JSON | bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    billed: Usage | None = None
    cached: int = 0  # of the billed prompt tokens
    reported: bool = True  # whether the reply says what is billed
    cut: bool = False  # the connection ends in the middle of the body
    drop: bool = False  # the connection ends without a reply
    hang: bool = False
    trickle: bool = False  # the body comes byte by byte


Behaviour = Callable[[Call], Reply]


@dataclass(frozen=True)
class Bill:
    """A line of the provider's invoice."""

    prompt: str
    behaviour: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    usd: float
    reported: bool


def _answer(call: Call, *, message: JSON | None = None, choice: JSON | None = None, **top: Any) -> Reply:
    """Return a good reply with some fields replaced; Ellipsis takes a field out."""
    told = {"role": "assistant", "content": call.content, **(message or {})}
    whole = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": call.body.get("model"),
        "choices": [_left({"index": 0, "message": _left(told), "finish_reason": "stop", **(choice or {})})],
        "usage": _counts(call),
        **top,
    }
    if call.logprobs is not None:
        whole["choices"][0].setdefault("logprobs", call.logprobs)
    return Reply(_left(whole), billed=call.usage)


def _counts(call: Call) -> JSON:
    """Return the usage of a call as OpenAI reports it."""
    return {"prompt_tokens": call.usage[0], "completion_tokens": call.usage[1], "total_tokens": sum(call.usage)}


def _left(fields: JSON) -> JSON:
    return {name: value for name, value in fields.items() if value is not ...}


def _usage(usage: Any, billed: Usage | None = None, *, cached: int = 0, reported: bool = True) -> Behaviour:
    """Reply well with this usage, or with one computed from the call."""

    def behave(call: Call) -> Reply:
        said = usage(call) if callable(usage) else usage
        return Reply(_answer(call, usage=said).body, billed=billed or call.usage, cached=cached, reported=reported)

    return behave


def _says(*, message: JSON | None = None, choice: JSON | None = None, **top: Any) -> Behaviour:
    return lambda call: _answer(call, message=message, choice=choice, **top)


def _refuses(status: int, message: str, *, headers: dict[str, str] | None = None, **more: Any) -> Behaviour:
    """Reply with an error in OpenAI's form; nothing is billed."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    return lambda _: Reply({"error": error}, status, headers or {})


def _unless(takes: Callable[[JSON], bool], refusal: Behaviour, then: Behaviour = _answer) -> Behaviour:
    """Refuse all calls but those whose body is taken."""
    return lambda call: then(call) if takes(call.body) else refusal(call)


def _unsupported(name: str, message: str) -> Behaviour:
    return _refuses(400, message, param=name, code="unsupported_parameter")


def _extra(name: str) -> Behaviour:
    """Refuse a field as FastAPI does."""
    detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]
    return lambda _: Reply({"detail": detail}, 422)


def _raw(body: bytes, kind: str = "application/json", **more: Any) -> Behaviour:
    return lambda call: Reply(body, headers={"Content-Type": kind}, **more)


def _garbled(call: Call) -> Reply:
    return Reply(json.dumps(_answer(call).body).encode()[:-40] + b"}}", billed=call.usage, reported=False)


def _stream(call: Call) -> Reply:
    """Send the answer as an event stream, word by word, its usage in the last event."""
    whole: Any = _answer(call).body
    base = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
    words = [word + " " for word in call.content.split(" ")]
    words[-1] = words[-1][:-1]
    deltas: list[tuple[JSON, str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    deltas += [({}, "stop")]
    events = [{**base, "choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in deltas]
    events.append({**base, "choices": [], "usage": whole["usage"]})
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return Reply(text.encode(), headers={"Content-Type": "text/event-stream"}, billed=call.usage)


def _stream_broken(call: Call) -> Reply:
    """Send an event stream that reports an error after some words."""
    whole = _stream(call)
    assert isinstance(whole.body, bytes)
    events = [*whole.body.split(b"\n\n")[:2], b'data: {"error": {"message": "overloaded", "code": 503}}', b""]
    return Reply(b"\n\n".join(events), headers=whole.headers, billed=call.usage, reported=False)


def _thoughts(call: Call) -> Reply:
    return _answer(call, message={"content": f"<think>Is it A? Or B? Rather not.</think>\n\n{call.content}"})


def _thinks(call: Call) -> Reply:
    """Think as many tokens as the effort says, and bill them."""
    thoughts = {"low": 40, "high": 400}.get(call.body.get("reasoning_effort", "none"), 0)
    usage = {
        "prompt_tokens": call.usage[0],
        "completion_tokens": call.usage[1] + thoughts,
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }
    message = {"reasoning": "Let me see." if thoughts else None}
    return Reply(_answer(call, message=message, usage=usage).body, billed=(call.usage[0], call.usage[1] + thoughts))


def _hidden(call: Call) -> Reply:
    """Bill hidden reasoning of 20 times the most tokens that were asked for."""
    tokens = 20 * int(call.body.get("max_tokens") or call.body.get("max_completion_tokens") or 100)
    usage = {
        "prompt_tokens": call.usage[0],
        "completion_tokens": tokens,
        "completion_tokens_details": {"reasoning_tokens": tokens - call.usage[1]},
    }
    return Reply(_answer(call, usage=usage).body, billed=(call.usage[0], tokens))


def _key_shown(call: Call) -> Reply:
    return Reply({"error": {"message": f"Incorrect API key provided: {call.headers.get('authorization')}"}}, 401)


_SLOW_DOWN = "Rate limit reached"
_LENGTH_ERROR = {
    "openai": "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
    "vllm": "The prompt (total length 5000) is too long to fit into the model (context length 4096).",
    "llamacpp": "the request exceeds the available context size, try increasing it",
    "max_tokens": "'max_tokens' is too large: 256. This model's maximum context length is 4096 tokens.",
    "anthropic": "prompt is too long: 205000 tokens > 200000 maximum",
}
_NO_MAX = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
_NO_HEAT = "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported."
_LOGIN = b"<!doctype html><html><head><title>Sign in</title></head><body>Please log in</body></html>"
_HMM = {"token": "Hmm", "logprob": -0.1, "bytes": None}
_TOOL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}

_default_heat = _unless(
    lambda body: body.get("temperature", 1) == 1,
    _refuses(400, _NO_HEAT, param="temperature", code="unsupported_value"),
)

BEHAVIOURS: dict[str, Behaviour] = {
    "ok": _answer,
    # Parameters that are refused by name.
    "wants_max_completion_tokens": _unless(
        lambda body: "max_tokens" not in body and "max_completion_tokens" in body, _unsupported("max_tokens", _NO_MAX)
    ),
    "only_temperature_1": _default_heat,
    "wants_both": _unless(lambda body: "max_tokens" not in body, _unsupported("max_tokens", _NO_MAX), _default_heat),
    "no_system": _unless(
        lambda body: all(turn["role"] != "system" for turn in body["messages"]),
        _refuses(400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
    ),
    "no_system_vllm": _unless(
        lambda body: all(turn["role"] != "system" for turn in body["messages"]),
        _refuses(400, "System role not supported"),
    ),
    "no_response_format": _unless(lambda body: "response_format" not in body, _extra("response_format")),
    "no_logprobs": _unless(lambda body: "logprobs" not in body, _extra("logprobs")),
    "no_seed": _unless(lambda body: "seed" not in body, _unsupported("seed", "Unsupported parameter: 'seed'.")),
    "no_effort": _unless(
        lambda body: "reasoning_effort" not in body,
        _refuses(400, "Unsupported value: 'reasoning_effort' does not support 'none'.", param="reasoning_effort"),
    ),
    "no_switches": _unless(lambda body: "chat_template_kwargs" not in body, _extra("chat_template_kwargs")),
    "adaptive_only": _unless(
        lambda body: body.get("thinking", {}).get("type") != "enabled",
        _refuses(400, '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".'),
    ),
    "thinks_by_effort": lambda call: _thinks(call),
    "out_of_range": _unless(
        lambda body: body["temperature"] <= 2,
        _refuses(400, "Invalid value for temperature: at most 2."),
        _unless(lambda body: body["max_tokens"] <= 8192, _refuses(400, "Invalid max_tokens value: at most 8192.")),
    ),
    "bad_heat": _refuses(400, "A prompt about temperature is not what we answer."),
    # Odd contents.
    "think_tags": _thoughts,
    "reasoning_content": _says(message={"reasoning_content": "Is it A? Rather not."}),
    "length_in_reasoning": _says(
        message={"content": "", "reasoning_content": "Is it A? Or"}, choice={"finish_reason": "length"}
    ),
    "empty_stop": _says(message={"content": ""}),
    "blank_stop": _says(message={"content": " \n"}),
    "null_content": _says(message={"content": None}),
    "cut_json": _says(message={"content": '{"city": "Ro'}, choice={"finish_reason": "length"}),
    "null_length": _says(message={"content": None}, choice={"finish_reason": "length"}),
    "refusal": _says(message={"content": None, "refusal": "I cannot help with that."}),
    "tool_calls": _says(message={"content": None, "tool_calls": [_TOOL]}, choice={"finish_reason": "tool_calls"}),
    "content_filter": _says(message={"content": None}, choice={"finish_reason": "content_filter"}),
    "content_filter_partial": _says(message={"content": "The begi"}, choice={"finish_reason": "content_filter"}),
    "parts": lambda call: _answer(
        call,
        message={
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Is it A?"}]},
                {"type": "text", "text": call.content[:3]},
                {"type": "text", "text": call.content[3:]},
            ]
        },
    ),
    "surrogate": lambda call: _answer(call, message={"content": f"{call.content}\ud83d"}),
    "nul": lambda call: _answer(call, message={"content": f"{call.content}\0!"}),
    "stream_broken": _stream_broken,
    "bom": lambda call: Reply(b"\xef\xbb\xbf" + json.dumps(_answer(call).body).encode(), billed=call.usage),
    "text_choice": lambda call: _answer(call, choice={"message": ..., "text": call.content}),
    "stream": _stream,
    "fenced": lambda call: _answer(call, message={"content": f"```json\n{call.content}\n```"}),
    "logprobs_elsewhere": _says(
        choice={"logprobs": {"content": [{"token": "Hmm", "logprob": -0.1, "top_logprobs": [_HMM]}]}}
    ),
    # Odd finish reasons.
    "finish_missing": _says(choice={"finish_reason": ...}),
    **{
        f"finish_{name}": _says(choice={"finish_reason": reason})
        for name, reason in {
            "null": None,
            "empty": "",
            "eos_token": "eos_token",
            "end_turn": "end_turn",
            "STOP": "STOP",
            "list": ["stop"],
            "dict": {"a": 1},
            "number": 7,
        }.items()
    },
    # Wrong types.
    **{
        f"content_{name}": _says(message={"content": value})
        for name, value in {"number": 7, "dict": {"a": 1}, "list": [[1]], "true": True}.items()
    },
    **{
        f"choices_{name}": _says(choices=value)
        for name, value in {"text": "Paris", "dict": {"a": 1}, "number": 7, "nulls": [None], "empty": []}.items()
    },
    "message_text": _says(choice={"message": "Paris"}),
    "error_429_in_200": lambda _: Reply(
        {"id": "x", "choices": None, "error": {"message": "Provider returned error", "code": 429}}
    ),
    "error_billed": lambda call: Reply(
        {"error": {"message": "Provider failed", "code": 400}, "usage": _counts(call)}, 400, billed=call.usage
    ),
    "escapes": _refuses(400, "No.\x1b[31m\x07"),
    "quotes_money": _refuses(400, "Invalid prompt: 'we have insufficient funds'"),
    "error_502_in_200": lambda _: Reply({"error": {"message": "Provider is down", "code": 502}}),
    # Odd usage. What is billed is the usual.
    "usage_missing": _usage(..., reported=False),
    "usage_empty": _usage({}, reported=False),
    "usage_nulls": _usage({"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, reported=False),
    "usage_total_only": _usage(lambda call: {"total_tokens": sum(call.usage)}, reported=False),
    "usage_strings": _usage(
        lambda call: {"prompt_tokens": str(call.usage[0]), "completion_tokens": str(call.usage[1])}
    ),
    "usage_floats": _usage(
        lambda call: {"prompt_tokens": float(call.usage[0]), "completion_tokens": float(call.usage[1])}
    ),
    "usage_huge": _usage({"prompt_tokens": 2**40, "completion_tokens": 5}, (2**40, 5)),
    "usage_negative": _usage({"prompt_tokens": -(10**9), "completion_tokens": -5}, reported=False),
    "usage_text": _usage("many", reported=False),
    "usage_given": lambda call: _answer(call, usage=call.reports),
    "cached": _usage(
        {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 900}},
        (1000, 50),
        cached=900,
    ),
    "hidden_reasoning": _hidden,
    # Errors that pass, or end the expert, or are the row's.
    "429_seconds": _refuses(429, _SLOW_DOWN, code="rate_limit_exceeded", headers={"Retry-After": "1"}),
    "429_date": lambda _: Reply(
        {"error": {"message": _SLOW_DOWN}}, 429, {"Retry-After": formatdate(time.time() + 1, usegmt=True)}
    ),
    "429_too_large": _refuses(
        429,
        "Request too large for m on tokens per min (TPM): Limit 30000, Requested 50000.",
        code="rate_limit_exceeded",
    ),
    "429_minute": _refuses(429, _SLOW_DOWN, headers={"Retry-After": "60"}),
    "insufficient_quota": _refuses(429, "You exceeded your current quota", code="insufficient_quota"),
    "402": _refuses(402, "Insufficient credits"),
    "404_model": _refuses(404, "The model `m` does not exist", code="model_not_found"),
    "key_shown": _key_shown,
    "html_503": lambda _: Reply(
        b"<html><body><h1>503 Service Unavailable</h1></body></html>", 503, {"Content-Type": "text/html"}
    ),
    "413": _refuses(413, "Request Entity Too Large"),
    "context_openai": _refuses(400, _LENGTH_ERROR["openai"], code="context_length_exceeded"),
    **{f"context_{name}": _refuses(400, _LENGTH_ERROR[name]) for name in ("vllm", "llamacpp", "anthropic")},
    "context_max_tokens": _refuses(400, _LENGTH_ERROR["max_tokens"], param="max_tokens"),
    # Broken replies.
    "cut_body": lambda call: Reply(_answer(call).body, billed=call.usage, reported=False, cut=True),
    "drop": _raw(b"", drop=True),
    "drop_billed": lambda call: Reply(b"", billed=call.usage, reported=False, drop=True),
    "garbage": _raw(b"<html>not json"),
    "invalid_json": _garbled,
    "empty_body": lambda call: Reply(b"", billed=call.usage, reported=False),
    "html_200": _raw(_LOGIN, "text/html"),
    "empty": _says(choices=[]),
    "trickle": lambda call: Reply(_answer(call).body, billed=call.usage, reported=False, trickle=True),
    "hang": lambda call: Reply(_answer(call).body, billed=call.usage, reported=False, hang=True),
}


def _status(status: int) -> Behaviour:
    """Reply with a bare error of this status."""
    code = "context_length_exceeded" if status == 400 else None
    return _refuses(status, f"fault {status}", code=code, headers={"Retry-After": "0.05"})


class Provider(ThreadingHTTPServer):
    """A server on loopback that answers chat completions, each prompt P with "echo: P" or what `says` gives.

    Attributes:
        does: By a word of the prompt, the behaviour of every call with it ("" is in every prompt).
        faults: By a word of the prompt, the behaviours of its next calls; for ever with `repeat`.
        mix: The weight of each behaviour in all other calls.
        seed: Chooses among them.
        says: From model and prompt to the answer, or to the probabilities of first words, the likeliest being the answer.
        usage: The tokens of each call, fixed or computed from prompt and body.
        limit: The requests and tokens that it lets through in a minute; None for any number.
        paths: What there is on this server.
        replies: Makes the reply of every call that nothing else is said of.
        reports: The usage that the behaviour `usage_given` reports.
        usd_per_m: By model, the price of a million input and output tokens; "" is any other model.
        cached_share: Price of a cached input token, as a share of the input price.
        asked: Calls per prompt.
        bills: All that was billed, failures included.

    """

    daemon_threads = True
    request_queue_size = 128
    scheme = "http"

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answering)
        self.at_once = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Forget what was called, and answer all calls as usual."""
        self.does: dict[str, str] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.repeat = False
        self.mix: dict[str, float] = {}
        self.seed = 0
        self.says: Callable[[str, str], dict[str, float] | str] | None = None
        self.usage: Usage | Callable[[str, JSON], Usage] = (12, 3)
        self.reports: Any = None
        self.replies: Behaviour | None = None
        self.limit: RateLimit | None = None
        self.paths = {"/v1/chat/completions"}
        self.usd_per_m: dict[str, tuple[float, float]] = {"": (1.0, 2.0)}
        self.cached_share = 0.1
        self.delay_s = 0.0
        self.hang_s = 3.0
        self.asked: Counter[str] = Counter()
        self.calls: list[Call] = []
        self.bodies: list[JSON] = []
        self.bills: list[Bill] = []
        self.most_at_once = 0

    @property
    def url(self) -> str:
        """The base URL for the client."""
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/v1"

    def entry(self, name: str, price: float, max_tokens: int, more: str = "") -> str:
        """Return the entry of a pool file for an expert of this API; `more` goes to its end."""
        return f"""
[[expert]]
name = "{name}"
model = "{name}"
backend = "openai"
base_url = "{self.url}"
usd_per_m_input = {price}
usd_per_m_output = {price}
max_tokens = {max_tokens}
{more}
"""

    @property
    def account_usd(self) -> float:
        """All that was billed."""
        return math.fsum(bill.usd for bill in self.bills)

    @property
    def unreported_usd(self) -> float:
        """The part of the account that no reply reported: a client can only estimate it."""
        return math.fsum(bill.usd for bill in self.bills if not bill.reported)

    def behaviour(self, call: Call) -> str | int:
        """Choose how to treat this call; a fault is taken off its list."""
        with self.lock:
            for word, faults in self.faults.items():
                if word in call.prompt and faults:
                    return faults[0] if self.repeat else faults.pop(0)
        for word, name in self.does.items():
            if word in call.prompt:
                return name
        if self.mix:
            chance = random.Random(f"{self.seed} {call.attempt} {call.prompt}")
            return chance.choices(list(self.mix), list(self.mix.values()))[0]
        return "ok"

    def call(self, path: str, headers: dict[str, str], body: JSON) -> Call:
        """Note a request that came in."""
        said = body["messages"][-1]["content"] if "messages" in body else body["input"]  # of a chat, or texts to embed
        prompt = said if isinstance(said, str) else json.dumps(said)
        says = f"echo: {prompt}" if self.says is None else self.says(body["model"], prompt)
        content = says if isinstance(says, str) else max(says, key=lambda word: says[word])
        usage = self.usage(prompt, body) if callable(self.usage) else self.usage
        with self.lock:
            call = Call(
                prompt, body, path, headers, self.asked[prompt], usage, content, _logprobs(says, body), self.reports
            )
            self.asked[prompt] += 1
            self.calls.append(call)
            self.bodies.append(body)
        return call

    def bill(self, call: Call, behaviour: str, reply: Reply) -> None:
        """Write a reply's line of the invoice."""
        if reply.billed is None:
            return
        per_input, per_output = self.usd_per_m.get(call.body["model"], self.usd_per_m[""])
        prompt_tokens, completion_tokens = reply.billed
        full = prompt_tokens - reply.cached + self.cached_share * reply.cached
        usd = (full * per_input + completion_tokens * per_output) / 1e6
        line = Bill(call.prompt, behaviour, prompt_tokens, completion_tokens, reply.cached, usd, reply.reported)
        with self.lock:
            self.bills.append(line)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one more call at once."""
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that went away: some tests are about that."""


def _logprobs(says: dict[str, float] | str, body: JSON) -> JSON | None:
    """Return the log probabilities of the first token, where there are probabilities or the body asks for them."""
    if isinstance(says, str):
        if not body.get("logprobs"):
            return None
        says = {says: 0.9}
    told = [{"token": word, "logprob": math.log(p), "bytes": None} for word, p in says.items()]
    return {"content": [{**told[0], "top_logprobs": told}]}


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        """Answer one chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.partition("?")[0] not in self.server.paths:
            self._send(Reply({"detail": "Not Found"}, 404))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = self.server.call(self.path, headers, body)
        let_through, limits = (True, {}) if self.server.limit is None else self.server.limit.admit(sum(call.usage))
        if not let_through:
            self._send(_refuses(429, _SLOW_DOWN, code="rate_limit_exceeded", headers=limits)(call))
            return
        with self.server.counted():
            name = self.server.behaviour(call)
            behave = _status(name) if isinstance(name, int) else BEHAVIOURS[name]
            reply = (self.server.replies or behave)(call) if name == "ok" else behave(call)
            self.server.bill(call, str(name), reply)
            self.server.ended.wait(self.server.delay_s + self.server.hang_s * reply.hang)
            self._send(replace(reply, headers={**limits, **reply.headers}))

    def _send(self, reply: Reply) -> None:
        if reply.drop:
            self.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        data = b"" if reply.status in (204, 304) else data  # these have none
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        data = data[: len(data) // 2] if reply.cut else data
        for part in (data[i : i + 1] for i in range(len(data))) if reply.trickle else [data]:
            self.wfile.write(part)
            self.server.ended.wait(0.05 * reply.trickle)
        self.close_connection = self.close_connection or reply.cut

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """Run a provider in a thread of its own."""
    server = Provider(port)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
