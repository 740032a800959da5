"""Replies of providers and servers, in the shapes that their documentation and their sources give (November 2026).

Texts and counts are our own. What a reply has beside OpenAI's fields is here because readers have stumbled over it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

JSON = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """A reply, and the row it becomes.

    Attributes:
        name: The provider, and what happens.
        body: JSON.
        answer, tokens, finish: Of the row; tokens are those of prompt and completion.
        error: In the row's error, where it has one.
        blames: Who is to blame for the error, as `faults` has it.
        calls: How often the request is sent, where a repeated one is refused alike.
        ends: The expert is given up.

    """

    name: str
    body: JSON | list[JSON]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    answer: str | None = None
    tokens: tuple[int, int] | None = None
    finish: str = "stop"
    error: str | None = None
    blames: Literal["expert", "row", "nobody"] = "expert"
    calls: int = 1
    ends: bool = False


def _chat(message: JSON, usage: JSON | None = None, choice: JSON | None = None, **top: Any) -> JSON:
    """Return a chat completion with these fields."""
    counts = {"prompt_tokens": 24, "completion_tokens": 7, "total_tokens": 31, **(usage or {})}
    first = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", **(choice or {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "m",
        "choices": [first],
        "usage": counts,
        **top,
    }


_PARIS: JSON = {"content": "Paris"}
_SAFE = {"filtered": False, "severity": "safe"}
_FILTERS = {
    "hate": _SAFE,
    "self_harm": _SAFE,
    "sexual": _SAFE,
    "violence": _SAFE,
    "jailbreak": {"filtered": False, "detected": False},
}
_PROMPT_FILTERS = [{"prompt_index": 0, "content_filter_results": _FILTERS}]
_DETAILS = {
    "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 16},
    "completion_tokens_details": {
        "accepted_prediction_tokens": 0,
        "audio_tokens": 0,
        "reasoning_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_CUT_AZURE = {"violence": {"filtered": True, "severity": "medium"}}
_REFUSED_AZURE = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
_TOO_LONG_TGI = (
    "`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 12 `max_new_tokens`"
)
_QUOTA_GEMINI = "You exceeded your current quota, please check your plan and billing details."
_KEY_GEMINI = "API key not valid. Please pass a valid API key."
_DETAIL_GEMINI = "type.googleapis.com/google.rpc"

ANSWERS = [
    Shape(
        "azure",
        _chat(
            {**_PARIS, "refusal": None, "annotations": []},
            _DETAILS,
            {"logprobs": None, "content_filter_results": {**_FILTERS, "protected_material_code": {"filtered": False}}},
            prompt_filter_results=_PROMPT_FILTERS,
            system_fingerprint="fp_1",
        ),
    ),
    Shape(
        "azure: the filter was down",
        _chat(
            _PARIS,
            choice={
                "content_filter_result": {
                    "error": {"code": "content_filter_error", "message": "The contents are not filtered"}
                }
            },
        ),
    ),
    Shape(
        "openrouter",
        _chat(
            {
                **_PARIS,
                "refusal": None,
                "reasoning": "A capital.",
                "reasoning_details": [{"type": "reasoning.text", "text": "A capital.", "format": None, "index": 0}],
            },
            {
                "cost": 0.00012,
                "is_byok": False,
                "cost_details": {"upstream_inference_cost": None},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            {"logprobs": None, "native_finish_reason": "STOP"},
            provider="OpenAI",
        ),
    ),
    Shape(
        "together",
        _chat(
            {**_PARIS, "tool_calls": []},
            {"cached_tokens": 0},
            {"finish_reason": "eos", "seed": 7, "logprobs": {"tokens": ["Paris"], "token_logprobs": [-0.1]}},
            prompt=[],
        ),
    ),
    Shape(
        "groq",
        _chat(
            {**_PARIS, "reasoning": "A capital."},
            {"queue_time": 0.018, "prompt_time": 0.004, "completion_time": 0.007, "total_time": 0.011},
            {"logprobs": None},
            usage_breakdown=None,
            x_groq={"id": "req_1", "seed": 1},
            service_tier="on_demand",
        ),
    ),
    Shape("fireworks", _chat({**_PARIS, "reasoning_content": "A capital."}, {"prompt_tokens_details": None})),
    Shape(
        "deepseek",
        _chat(
            {**_PARIS, "reasoning_content": "A capital."},
            {
                "prompt_cache_hit_tokens": 16,
                "prompt_cache_miss_tokens": 8,
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            {"logprobs": None},
            system_fingerprint="fp_1",
        ),
    ),
    Shape(
        "mistral: magistral's parts",
        _chat(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "A capital."}], "closed": True},
                    {"type": "text", "text": "Paris"},
                ],
                "tool_calls": None,
                "prefix": False,
            },
            {"prompt_audio_seconds": None},
        ),
    ),
    Shape("anthropic: its endpoint for OpenAI's clients", _chat(_PARIS, choice={"logprobs": None}, service_tier=None)),
    Shape(
        "gemini: thoughts counted in the total alone",
        _chat(_PARIS, {"completion_tokens": 2, "total_tokens": 31}),
    ),
    Shape(
        "vertex",
        _chat(
            _PARIS,
            {"extra_properties": {"google": {"traffic_type": "ON_DEMAND"}}},
            {"logprobs": None},
            system_fingerprint="",
        ),
    ),
    Shape("bedrock: gpt-oss's reasoning in tags", _chat({"content": "<reasoning>A capital.</reasoning>Paris"})),
    Shape(
        "ollama",
        _chat({**_PARIS, "reasoning": "A capital."}, system_fingerprint="fp_ollama"),
    ),
    Shape(
        "ollama: its own API, through a gateway",
        {
            "model": "llama3.2",
            "created_at": "2026-11-30T12:00:00Z",
            "message": {"role": "assistant", "content": "Paris", "thinking": "A capital."},
            "done": True,
            "done_reason": "stop",
            "total_duration": 4883583458,
            "prompt_eval_count": 24,
            "prompt_eval_duration": 342546000,
            "eval_count": 7,
            "eval_duration": 4535599000,
        },
    ),
    Shape("lm studio", _chat({**_PARIS, "reasoning_content": ""}, stats={}, system_fingerprint="m")),
    Shape(
        "llama.cpp",
        _chat(
            {**_PARIS, "reasoning_content": "A capital."},
            {"prompt_tokens_details": {"cached_tokens": 7}},
            system_fingerprint="b6290-a6a58d64",
            timings={
                "cache_n": 7,
                "prompt_n": 17,
                "prompt_ms": 98.6,
                "predicted_n": 7,
                "predicted_ms": 57.5,
                "predicted_per_second": 69.5,
            },
        ),
    ),
    Shape(
        "tgi",
        {**_chat(_PARIS, choice={"finish_reason": "eos_token", "logprobs": None}), "id": ""},
    ),
    Shape("tgi: cut", _chat(_PARIS, choice={"finish_reason": "length", "logprobs": None}), finish="length"),
    Shape(
        "vllm",
        _chat(
            {**_PARIS, "refusal": None, "annotations": None, "audio": None, "tool_calls": [], "reasoning": None},
            {"prompt_tokens_details": None},
            {"logprobs": None, "stop_reason": None, "token_ids": None},
            prompt_logprobs=None,
            prompt_token_ids=None,
            kv_transfer_params=None,
        ),
    ),
    Shape(
        "sglang",
        _chat(
            {**_PARIS, "reasoning_content": None, "tool_calls": None},
            {"prompt_tokens_details": None, "reasoning_tokens": 0},
            {"logprobs": None, "matched_stop": 151645},
            metadata={"weight_version": "default"},
        ),
    ),
]

ERRORS = [
    Shape(
        "azure: the prompt is filtered",
        {
            "error": {
                "message": _REFUSED_AZURE,
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _CUT_AZURE},
            }
        },
        400,
        error="content management policy",
        blames="row",
    ),
    Shape(
        "azure: the answer is filtered",
        _chat(
            {},
            choice={"finish_reason": "content_filter", "content_filter_results": _CUT_AZURE},
            prompt_filter_results=_PROMPT_FILTERS,
        ),
        tokens=(24, 7),
        error="content filter stopped the answer",
        blames="row",
    ),
    Shape(
        "azure: no such deployment",
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        404,
        error="does not know 'm': 404 Not Found: The API deployment for this resource does not exist.",
    ),
    Shape(
        "azure: a wrong key",
        {"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid, audience is incorrect."},
        401,
        error="the API refuses the key: 401 Unauthorized: Unauthorized. Access token is missing",
    ),
    Shape(
        "openrouter: the provider fails, status 200",
        {
            "error": {
                "message": "Provider returned error",
                "code": 502,
                "metadata": {"raw": '{"error":{"message":"no capacity left"}}', "provider_name": "Chutes"},
            },
            "user_id": "user_1",
        },
        error="502 Bad Gateway: Provider returned error (Chutes: no capacity left)",
        calls=2,
    ),
    Shape(
        "openrouter: the provider fails in the middle",
        _chat(
            {"content": "Par"},
            choice={
                "finish_reason": "error",
                "native_finish_reason": "error",
                "error": {"code": 502, "message": "Upstream idle timeout", "metadata": {"provider_name": "Chutes"}},
            },
        ),
        tokens=(48, 14),
        error="502 Bad Gateway: Upstream idle timeout (Chutes)",
        calls=2,
    ),
    Shape(
        "openrouter: moderation",
        {
            "error": {
                "code": 403,
                "message": 'm requires moderation on OpenAI. Your input was flagged for "harassment".',
                "metadata": {"reasons": ["harassment"], "flagged_input": "...", "provider_name": "OpenAI"},
            }
        },
        403,
        error='Your input was flagged for "harassment".',
        blames="row",
    ),
    Shape(
        "openrouter: no such model",
        {"error": {"message": "foo/m is not a valid model ID", "code": 400}, "user_id": "user_1"},
        400,
        error="does not know 'm': 400 Bad Request: foo/m is not a valid model ID",
    ),
    Shape(
        "together: too long",
        {
            "id": "o1",
            "error": {
                "message": f"Input validation error: {_TOO_LONG_TGI}",
                "type": "invalid_request_error",
                "param": "max_tokens",
                "code": None,
            },
        },
        422,
        error="`inputs` tokens + `max_new_tokens` must be <= 8193",
        blames="nobody",
    ),
    Shape(
        "groq: larger than a minute allows",
        {
            "error": {
                "message": "Request too large for model `m` in organization `org_1` service tier `on_demand` on tokens "
                "per minute (TPM): Limit 6000, Requested 7000",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
        413,
        error="Request too large for model",
        blames="nobody",
    ),
    Shape(
        "groq: no JSON came out",
        {
            "error": {
                "message": "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for details.",
                "type": "invalid_request_error",
                "code": "json_validate_failed",
                "failed_generation": "Paris",
            }
        },
        400,
        error="Failed to generate JSON",
        blames="row",
    ),
    Shape(
        "fireworks: no such model",
        {"error": {"code": "NOT_FOUND", "message": "Model not found, inaccessible, and/or not deployed"}},
        404,
        error="Model not found, inaccessible",
    ),
    Shape(
        "deepseek: no balance",
        {
            "error": {
                "message": "Insufficient Balance",
                "type": "unknown_error",
                "param": None,
                "code": "invalid_request",
            }
        },
        402,
        error="402 Payment Required: Insufficient Balance",
        ends=True,
    ),
    Shape(
        "deepseek: interrupted",
        _chat({"content": "Par"}, choice={"finish_reason": "insufficient_system_resource"}),
        tokens=(24, 7),
        error="insufficient_system_resource",
    ),
    Shape(
        "mistral: no such model",
        {"object": "error", "message": "Invalid model: m", "type": "invalid_model", "param": None, "code": "1500"},
        400,
        error="does not know 'm': 400 Bad Request: Invalid model: m",
    ),
    Shape("mistral: a wrong key", {"detail": "Unauthorized"}, 401, error="the API refuses the key: 401"),
    Shape(
        "mistral: too long",
        {
            "object": "error",
            "message": "Prompt contains 33000 tokens and 0 draft tokens, too large for model with 32768 maximum "
            "context length",
            "type": "invalid_request_prompt",
            "code": "3051",
        },
        400,
        error="Prompt contains 33000 tokens",
        blames="nobody",
    ),
    Shape(
        "anthropic: overloaded",
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"},
        529,
        error="529: Overloaded",
        calls=2,
    ),
    Shape(
        "anthropic: no credit",
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
            },
        },
        400,
        error="Your credit balance is too low",
        ends=True,
    ),
    Shape(
        "gemini: a wrong key",
        [
            {
                "error": {
                    "code": 400,
                    "message": _KEY_GEMINI,
                    "status": "INVALID_ARGUMENT",
                    "details": [{"@type": f"{_DETAIL_GEMINI}.ErrorInfo", "reason": "API_KEY_INVALID"}],
                }
            }
        ],
        400,
        error=f"the API refuses the key: 400 Bad Request: {_KEY_GEMINI}",
    ),
    Shape(
        "vertex: overloaded",
        [{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}],
        503,
        error="503 Service Unavailable: The model is overloaded.",
        calls=2,
    ),
    Shape(
        "bedrock: AWS's own form",
        {"Message": "The security token included in the request is expired"},
        403,
        error="the API refuses the key: 403 Forbidden: The security token included in the request is expired",
    ),
    Shape(
        "ollama: no such model",
        {"error": {"message": 'model "m" not found, try pulling it first', "type": "api_error", "code": None}},
        404,
        error="try pulling it first",
    ),
    Shape(
        "lm studio: a wrong address, status 200",
        {"error": "Unexpected endpoint or method. (POST /chat/completions)"},
        error="Unexpected endpoint or method",
        calls=2,
    ),
    Shape(
        "llama.cpp: too long",
        {
            "error": {
                "code": 400,
                "message": "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9412,
                "n_ctx": 8192,
            }
        },
        400,
        error="request (9412 tokens) exceeds the available context size",
        blames="nobody",
    ),
    Shape(
        "llama.cpp: still loading",
        {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
        503,
        error="503 Service Unavailable: Loading model",
        calls=2,
    ),
    Shape(
        "tgi: too long",
        {"error": f"Input validation error: {_TOO_LONG_TGI}", "error_type": "validation"},
        422,
        error="`inputs` tokens + `max_new_tokens` must be <= 8193",
        blames="nobody",
    ),
    Shape(
        "vllm: no such model",
        {"error": {"message": "The model `m` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}},
        404,
        error="The model `m` does not exist.",
    ),
    Shape(
        "sglang: too long",
        {
            "object": "error",
            "message": "Requested token count exceeds the model's maximum context length of 4096 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        400,
        error="maximum context length of 4096 tokens",
        blames="nobody",
    ),
]

# Too many requests: sent again after the wait that is named, and answered then.
REFUSED_FOR_NOW = [
    Shape(
        "gemini: too many a minute",
        [
            {
                "error": {
                    "code": 429,
                    "message": f"{_QUOTA_GEMINI} Please retry in 0.05s.",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [
                        {"@type": f"{_DETAIL_GEMINI}.QuotaFailure", "violations": [{"quotaId": "PerMinute"}]},
                        {"@type": f"{_DETAIL_GEMINI}.RetryInfo", "retryDelay": "0.05s"},
                    ],
                }
            }
        ],
        429,
        error="429 Too Many Requests: You exceeded your current quota",
    ),
    Shape(
        "tgi: overloaded",
        {"error": "Model is overloaded", "error_type": "overloaded"},
        429,
        error="429 Too Many Requests: Model is overloaded",
    ),
    Shape(
        "azure: too many tokens a minute",
        {"error": {"code": "429", "message": "Requests have exceeded token rate limit. Please retry after 1 second."}},
        429,
        {"Retry-After": "0.05"},
        error="429 Too Many Requests: Requests have exceeded token rate limit.",
    ),
    Shape(
        "groq: too many a minute",
        {"error": {"message": "Rate limit reached for model `m`", "type": "tokens", "code": "rate_limit_exceeded"}},
        429,
        {"retry-after": "0.05"},
        error="429 Too Many Requests: Rate limit reached for model",
    ),
]

# How Mistral refuses a field: the complaints stand in a table within the message.
MISTRAL_REFUSES = {
    "object": "error",
    "message": {
        "detail": [
            {
                "type": "extra_forbidden",
                "loc": ["body", "response_format"],
                "msg": "Extra inputs are not permitted",
                "input": {},
            }
        ]
    },
    "type": "invalid_request_error",
    "param": None,
    "code": None,
}

# Anthropic's own API.
ANTHROPIC_ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [
        {"type": "thinking", "thinking": "A capital.", "signature": "EqQB"},
        {"type": "text", "text": "Paris"},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 8,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 16,
        "output_tokens": 7,
        "service_tier": "standard",
    },
}


def ids(shapes: list[Shape]) -> list[str]:
    """Return the names of shapes."""
    assert all(json.dumps(shape.body) for shape in shapes)
    return [shape.name for shape in shapes]
