"""The Arrow schemas of every table that crosses a wall.

A name here is a promise: commands, SQL, files and other programs rely on it.
"""

from __future__ import annotations

import pyarrow as pa


def _of(table: pa.Schema, *names: str) -> list[pa.Field]:
    """Return columns that another table has too."""
    return [table.field(name) for name in names]


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
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field(
            "reasoning_tokens", pa.int64()
        ),  # those of `completion_tokens` that were thoughts, where that is known
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

# How an answer is sampled and formed, beside `max_tokens` and `temperature`; NULL is the model's own default. A backend
# that cannot do what a row wants here fails that row (`bounced`), and does not answer it otherwise.
SAMPLING = [
    pa.field("top_p", pa.float64()),
    pa.field("seed", pa.int64()),
    pa.field("stop", pa.list_(pa.string())),  # the answer ends before any of these
    pa.field("frequency_penalty", pa.float64()),
    pa.field("presence_penalty", pa.float64()),
    pa.field("reasoning_effort", pa.string()),  # 'none' | 'minimal' | 'low' | 'medium' | 'high', or tokens
    pa.field("top_logprobs", pa.int32()),  # `logprobs` come back, each token with this many alternatives
]

# The arguments of a row; NULL means the expert's default. The key of a question, the key of its answer and the
# request to a backend are made from this list: a new argument is a line here, and what the backends do with it.
ASK = pa.schema(
    [
        pa.field("expert", pa.string()),
        pa.field("system", pa.string()),
        # What was said before the question and after it: JSON lists of OpenAI's chat messages. Where the last one is
        # the assistant's, the answer goes on from it.
        pa.field("turns", pa.string()),
        pa.field("after", pa.string()),
        pa.field("max_tokens", pa.int32()),
        pa.field("temperature", pa.float64()),
        *SAMPLING,
        # The answer is one of these, or JSON that is valid under this schema (text).
        pa.field("choices", pa.list_(pa.string())),
        pa.field("json_schema", pa.string()),
        # Several decisions in one answer: a JSON object with the choices of each; see `backends.decisions`.
        pa.field("decisions", pa.string()),
        # Shown in the place of the question, by which the row is still known to people, routers and recorded outcomes.
        pa.field("prompt", pa.string()),
        # The prompt goes to a local model as it is: no system text, no template, no form of a chat.
        pa.field("raw", pa.bool_()),
        # The parts of the question: text with {names} in it, and a JSON object with their values; see `layout`.
        pa.field("task", pa.string()),
        pa.field("fields", pa.string()),
        # The images of the question, in the order of the places in its text (`images.marks`): data: URLs, paths or web
        # addresses. A run keeps the bytes of each once, and the key of an answer holds their hashes.
        pa.field("images", pa.list_(pa.large_string())),
        # Names of experts that may not answer, and the most USD that the answer may be expected to cost.
        pa.field("excluded", pa.list_(pa.string())),
        pa.field("max_cost_usd", pa.float64()),
    ]
)
# The arguments that restrict whom a row may go to, and change nothing of what is sent.
CONSTRAINTS = ("excluded", "max_cost_usd")
# The arguments that came later than stored keys, which do not have them: they are in a key only where they are given.
LATER = ("decisions", "images")

# An image of a request.
IMAGE = pa.struct(
    [
        pa.field("mark", pa.string()),  # the text in the prompt where it stands
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("path", pa.string()),
        pa.field("data", pa.binary()),  # in place of the path, where that is of another machine
    ]
)

# One question on its way to a backend. `question` is the row's own text, `prompt` the same text in the
# expert's template: what is sent as the user's message.
REQUESTS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        *_of(ASK, "system", "turns", "after"),
        pa.field("max_tokens", pa.int32(), nullable=False),
        pa.field("temperature", pa.float64(), nullable=False),
        *SAMPLING,
        *_of(ASK, "choices", "json_schema", "decisions"),  # with choices or decisions, `choice_logprobs` comes back
        # The prompt is text to be continued, not a turn in a chat; a model that only chats is shown it as one.
        pa.field("raw", pa.bool_(), nullable=False),
        # The LoRA adapter that answers, as the pool names it; NULL is the model as it is.
        pa.field("adapter", pa.string()),
        # Other requests begin with the same system text, turns, and this many characters of the prompt, and it pays to
        # have the provider keep these; NULL where it does not.
        pa.field("shared_chars", pa.int32()),
        pa.field("images", pa.list_(IMAGE)),
    ]
)

# One answer on its way back from a backend; `id` is the request's, and order is free. A row that failed may have been
# billed: its tokens (or `list_cost_usd`) then say what, as for an answer.
COMPLETIONS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        *_of(ANSWERS, "reasoning_tokens"),
        # True where the tokens are our own estimate, because the provider did not report them.
        pa.field("estimated", pa.bool_()),
        # The list cost, where the backend knows better than tokens times price (a recorded cost).
        pa.field("list_cost_usd", pa.float64()),
        pa.field("latency_ms", pa.float64()),
        pa.field("finish_reason", pa.string()),  # 'stop' | 'length' | 'error'
        pa.field("error", pa.string()),
        # True when another expert may well answer this row (the prompt is longer than this one's context).
        pa.field("bounced", pa.bool_(), nullable=False),
        # Of each choice, among the choices; those of all decisions, one after the other. NULL where the model does not
        # tell, of a decision alone too.
        pa.field("choice_logprobs", pa.list_(pa.float64())),
        # JSON: a list of OpenAI's token objects (token, logprob, bytes, top_logprobs); NULL unless `top_logprobs` asks.
        pa.field("logprobs", pa.string()),
        # How many prompt tokens were computed for an earlier request that began alike.
        pa.field("cached_tokens", pa.int64()),
        # How many were written to a cache, where that has a price of its own.
        pa.field("cache_write_tokens", pa.int64()),
        pa.field("recorded_score", pa.float64()),
        # The text of the thoughts before the answer.
        pa.field("reasoning", pa.string()),
    ]
)

# How well the router of a round of self-play chooses on the held-out questions.
MEASURES = pa.schema(
    [
        # AIQ, and accuracy at parts of the cost of the most expensive expert, see `analysis.frontier`.
        pa.field("score", pa.float64()),
        pa.field("accuracy_at_quarter", pa.float64()),
        pa.field("accuracy_at_half", pa.float64()),
        pa.field("accuracy_at_full", pa.float64()),
        pa.field("log_loss", pa.float64()),
        pa.field("ece", pa.float64()),
        pa.field("best_expert", pa.string()),
        pa.field("best_accuracy", pa.float64()),
        pa.field("oracle_accuracy", pa.float64()),
        # Share of the questions by expert, at half of that cost.
        pa.field("traffic", pa.map_(pa.string(), pa.float64())),
    ]
)
# A round of self-play, as its folder keeps it.
ROUND = pa.schema(
    [
        pa.field("round", pa.int64()),
        pa.field("questions", pa.int64()),  # generated
        pa.field("asked", pa.int64()),
        pa.field("outcomes", pa.int64()),  # fewer than asked where answers failed or could not be judged
        pa.field("outcomes_total", pa.int64()),
        pa.field("cost_usd", pa.float64()),
        pa.field("cost_usd_total", pa.float64()),  # with the held-out questions
        *MEASURES,
        pa.field("judge_n", pa.int64()),
        pa.field("judge_agreement", pa.float64()),
        pa.field("judge_kappa", pa.float64()),
        pa.field("seconds", pa.float64()),
        pa.field("notes", pa.list_(pa.string())),
    ]
)

# What `leeroo label` appends to the input's own columns.
LABELLED = pa.schema(
    [
        pa.field("label", pa.string()),  # a list of them where several may apply
        pa.field("confidence", pa.float64()),
        *_of(ANSWERS, "expert", "cost_usd", "list_cost_usd", "error"),
    ]
)

# One step of a solved question.
STEP = pa.struct(
    [
        pa.field("step", pa.int32()),  # from 1
        pa.field("task", pa.string()),
        pa.field("needs", pa.list_(pa.int32())),
        *_of(ANSWERS, "expert", "answer", "cost_usd", "list_cost_usd", "error"),
    ]
)
# What `leeroo solve` appends to the input's own columns.
SOLVED = pa.schema(
    [
        pa.field("answer", pa.string()),
        pa.field("steps", pa.list_(STEP)),
        *_of(ANSWERS, "cost_usd", "list_cost_usd", "error"),  # with plan and joining
    ]
)

# One answer for many texts.
AGGREGATED = pa.schema(
    [
        pa.field("value", pa.string()),
        pa.field("texts", pa.int64()),  # that were read; neither NULL nor blank ones
        pa.field("requests", pa.int32()),
        pa.field("levels", pa.int32()),  # 1: all texts in one request
        pa.field("cut", pa.int32()),  # answers that ended at their limit of tokens, so that something may be missing
        *_of(ANSWERS, "expert", "cost_usd", "list_cost_usd", "error"),  # of the last request, and of all
    ]
)

# Feedback as outcomes of a data folder; `judged_by` is 'user', or the check that compared the answer with the gold.
FEEDBACK_OUTCOMES = pa.schema([*OUTCOMES, pa.field("latency_ms", pa.float64()), pa.field("judged_by", pa.string())])

# The files of a round of self-play. Its questions, where they come from, and how their answers are checked (NULL: they
# are judged).
ROUND_QUERIES = pa.schema(
    [*QUERIES, pa.field("topic", pa.string()), pa.field("made_by", pa.string()), pa.field("check", pa.string())]
)
# The experts that each question is sent to.
ROUND_PAIRS = pa.schema([pa.field("query_id", pa.string()), pa.field("expert", pa.string())])
ROUND_ANSWERS = pa.schema(
    [
        *ROUND_PAIRS,
        *_of(ANSWERS, "answer", "prompt_tokens", "completion_tokens", "list_cost_usd"),
        pa.field("recorded_score", pa.float64()),
        ANSWERS.field("error"),
    ]
)
# Scores: computed, by consensus, and the probability of being right that a judge gives; NULL where there is none.
ROUND_JUDGED = pa.schema([*ROUND_PAIRS, *(pa.field(how, pa.float64()) for how in ("computed", "agreed", "judged"))])
# `judged_by` is a check of `jobs.verify`, 'recorded', 'consensus', or 'judge: ' and its name.
ROUND_OUTCOMES = pa.schema([*OUTCOMES, pa.field("judged_by", pa.string())])

# The values of the SQL functions. `leeroo` itself returns `ANSWERS`, `leeroo_answer` the first column of it.
_SQL_REASONS = _of(ANSWERS, "expert", "cost_usd", "error")
SQL_CHOICE = pa.struct(
    [
        pa.field("choice", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("confidence", pa.float64()),
        *_SQL_REASONS,
    ]
)
SQL_LABEL = pa.struct([pa.field("label", pa.string()), SQL_CHOICE.field("confidence"), *_SQL_REASONS])
SQL_FILTER = pa.struct([pa.field("value", pa.bool_()), SQL_CHOICE.field("confidence"), *_SQL_REASONS])
SQL_SCORE = pa.struct([pa.field("value", pa.float64()), SQL_CHOICE.field("confidence"), *_SQL_REASONS])
SQL_EXTRACT = pa.struct([pa.field("value", pa.string()), *_SQL_REASONS])
SQL_SOLUTION = pa.struct([field for field in SOLVED if field.name != "list_cost_usd"])
SQL_AGGREGATE = pa.struct([field for field in AGGREGATED if field.name != "list_cost_usd"])
SQL_ROUTE = pa.struct(list(ROUTES))
SQL_SCORES = pa.map_(pa.string(), pa.float64())

# The rows of the SQL table functions.
_WHEN = pa.timestamp("us", "UTC")
SQL_EXPERTS = pa.struct(
    [
        pa.field("expert", pa.string()),
        pa.field("default", pa.bool_()),
        pa.field("model", pa.string()),
        pa.field("backend", pa.string()),
        pa.field("location", pa.string()),
        pa.field("sent_to", pa.string()),
        pa.field("usd_per_m_input", pa.float64()),
        pa.field("usd_per_m_output", pa.float64()),
        pa.field("price_source", pa.string()),
        pa.field("unavailable", pa.string()),
    ]
)
SQL_RUNS = pa.struct(
    [
        pa.field("run", pa.string()),
        pa.field("started", _WHEN),
        pa.field("finished", _WHEN),
        pa.field("rows", pa.int64()),
        pa.field("cost_usd", pa.float64()),
        pa.field("list_cost_usd", pa.float64()),
        pa.field("prices", pa.string()),  # whose they are, and of which day
        pa.field("command", pa.string()),  # the command line that began it, or the name of a program of the user
    ]
)
SQL_SPEND = pa.struct(
    [
        pa.field("day", pa.date32()),
        pa.field("expert", pa.string()),
        pa.field("answers", pa.int64()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("cost_usd", pa.float64()),
    ]
)
SQL_FEEDBACK = pa.struct(
    [
        pa.field("question", pa.string()),
        pa.field("expert", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("gold", pa.string()),
        pa.field("judged_by", pa.string()),
        pa.field("predicted_score", pa.float64()),
        pa.field("at", _WHEN),
    ]
)
