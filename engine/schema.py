"""The Arrow schemas of every table that crosses a wall.

A name here is a promise: commands, SQL, files and other programs rely on it.
"""

from __future__ import annotations

import pyarrow as pa

EXPERTS = pa.schema(
    [
        pa.field("expert", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("params_b", pa.float64()),
        pa.field("license_open", pa.bool_(), nullable=False),
        pa.field("usd_per_m_input", pa.float64(), nullable=False),
        pa.field("usd_per_m_output", pa.float64(), nullable=False),
        pa.field("note", pa.string()),
    ]
)

QUERIES = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("subject", pa.string()),
        pa.field("category", pa.string()),
        pa.field("question", pa.string(), nullable=False),
        pa.field("choices", pa.list_(pa.string())),
        pa.field("answer", pa.string()),
        pa.field("prompt", pa.string(), nullable=False),
    ]
)

OUTCOMES = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("expert", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("response", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("cost_usd", pa.float64()),
    ]
)

# What the engine appends to the input's own columns.
ANSWERS = pa.schema(
    [
        pa.field("answer", pa.string()),
        pa.field("expert", pa.string()),
        pa.field("predicted_score", pa.float64()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("cost_usd", pa.float64()),
        pa.field("list_cost_usd", pa.float64()),
        pa.field("latency_ms", pa.float64()),
        pa.field("finish_reason", pa.string()),
        pa.field("error", pa.string()),
    ]
)

# What `route` appends instead: the choice and what it is expected to bring and to cost.
ROUTES = pa.schema(
    [
        pa.field("expert", pa.string()),
        pa.field("predicted_score", pa.float64()),
        pa.field("expected_cost_usd", pa.float64()),
    ]
)

# One question on its way to a backend. `question` is the row's own text, `prompt` the same text in the
# expert's template: what is sent as the user's message.
REQUESTS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("system", pa.string()),
        # What was said before, a JSON list of objects with `role` ('user' | 'assistant') and `content`.
        pa.field("turns", pa.string()),
        pa.field("max_tokens", pa.int32(), nullable=False),
        pa.field("temperature", pa.float64(), nullable=False),
        # When given, the answer is one of these, and `choice_logprobs` comes back.
        pa.field("choices", pa.list_(pa.string())),
        # When given, the answer is JSON that is valid under this JSON schema.
        pa.field("json_schema", pa.string()),
        # The prompt is text to be continued, not a turn in a chat; a model that only chats is shown it as one.
        pa.field("raw", pa.bool_(), nullable=False),
    ]
)

# One answer on its way back from a backend; `id` is the request's, and order is free.
COMPLETIONS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        # The list cost, where the backend knows better than tokens times price (a recorded cost).
        pa.field("list_cost_usd", pa.float64()),
        pa.field("latency_ms", pa.float64()),
        pa.field("finish_reason", pa.string()),  # 'stop' | 'length' | 'error'
        pa.field("error", pa.string()),
        # True when another expert may well answer this row (the prompt is longer than this one's context).
        pa.field("bounced", pa.bool_(), nullable=False),
        # Of each choice, among the choices; NULL where the model does not tell.
        pa.field("choice_logprobs", pa.list_(pa.float64())),
        # How many prompt tokens were computed for an earlier request that began alike.
        pa.field("cached_tokens", pa.int32()),
        pa.field("recorded_score", pa.float64()),
    ]
)
