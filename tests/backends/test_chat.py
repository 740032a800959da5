"""Conversations are written as a model's own template wants them; one that it refuses costs no other row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.completions import Request, requests_of
from leeroo.engine.backends.local.chat import tokens_of
from leeroo.engine.backends.select import load_backend
from leeroo.engine.pool import Expert
from tests.backends.tiny import save_model

Requests = Callable[..., pa.RecordBatch]

_PLAIN = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
# No system role, and turns that take turns.
_STRICT = (
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('No system here') }}{% endif %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Take turns') }}{% endif %}"
    "[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
)
# Passes over what it does not know.
_DEAF = "{% for m in messages %}{% if m['role'] == 'user' %}[user]{{ m['content'] }}\n{% endif %}{% endfor %}"
_THINKS = _PLAIN + "{% if enable_thinking is defined and not enable_thinking %}<none>{% endif %}"
_WEIGHS = _PLAIN + "<{{ reasoning_effort }}>"
_TOOLS = (
    "{% for m in messages %}[{{ m['role'] }}]{% for c in m.tool_calls or [] %}{{ c.function.arguments.city }}{% endfor %}"
    "{{ m['content'] }}\n{% endfor %}"
)


def _written(folder: Path, template: str, batch: pa.RecordBatch) -> tuple[dict[int, str], dict[int, dict[str, Any]]]:
    """Return the text of each row of a batch, and the completions of those that are refused."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(save_model(folder, template=template))
    tokens, refused = tokens_of(requests_of(batch), tokenizer)
    return {request.id: tokenizer.decode(ids) for request, ids in tokens}, {row["id"]: row for row in refused}


def _rows(requests: Requests, *rows: dict[str, Any]) -> pa.RecordBatch:
    base = requests("Hi")
    return pa.RecordBatch.from_pylist(
        [{**base.to_pylist()[0], "id": i, **row} for i, row in enumerate(rows)], base.schema
    )


def test_a_template_without_a_system_role_reads_it_from_the_user(requests: Requests, tmp_path: Path) -> None:
    """The system text is in front of the user's turn, where the template refuses it and where it leaves it out."""
    for name, template in {"strict": _STRICT, "deaf": _DEAF}.items():
        written, refused = _written(tmp_path / name, template, requests("Who?", system="Be short."))
        assert "[user]Be short.\n\nWho?" in written[0]
        assert not refused
    written, _ = _written(tmp_path / "plain", _PLAIN, requests("Who?", system="Be short."))
    assert written[0] == "[system]Be short.\n[user]Who?\n[a]"


def test_two_turns_of_one_role_are_joined_where_they_must_be(requests: Requests, tmp_path: Path) -> None:
    """Two users in a row are one; system texts in the middle go to the turn after them."""
    turns = [{"role": "user", "content": "One."}, {"role": "assistant", "content": "Yes?"}]
    after = [{"role": "developer", "content": "Now."}, {"role": "user", "content": "Three."}]
    batch = requests("Two.", turns=json.dumps(turns), after=json.dumps(after))
    written, _ = _written(tmp_path / "strict", _STRICT, batch)
    assert written[0] == "[user]One.\n[assistant]Yes?\n[user]Two.\n\nNow.\n\nThree.\n[a]"
    written, _ = _written(tmp_path / "plain", _PLAIN, batch)
    assert written[0] == "[user]One.\n[assistant]Yes?\n[user]Two.\n[system]Now.\n[user]Three.\n[a]"


def test_a_refused_conversation_fails_alone(requests: Requests, tmp_path: Path) -> None:
    """It has its error and may go to another expert; its neighbours are answered."""
    begun = json.dumps([{"role": "assistant", "content": "I begin."}])
    batch = _rows(requests, {}, {"turns": begun}, {"system": "Be short."})
    expert = Expert(name="t", model=str(save_model(tmp_path, template=_STRICT)), usd_per_m_input=0, usd_per_m_output=0)
    backend = load_backend(expert.model_copy(update={"backend": "transformers"}))
    done = {row["id"]: row for each in backend.generate(iter([batch])) for row in each.to_pylist()}
    assert done[1]["error"] == "the model's chat template refuses this conversation: Take turns"
    assert done[1]["bounced"]
    assert done[0]["answer"]
    assert done[2]["answer"]


def test_a_last_turn_of_the_assistant_is_continued(requests: Requests, tmp_path: Path) -> None:
    """The prompt ends with that turn, which is not closed."""
    after = json.dumps([{"role": "assistant", "content": "The river is"}])
    written, _ = _written(tmp_path, _PLAIN, requests("Which?", after=after))
    assert written[0] == "[user]Which?\n[assistant]The river is"


def test_text_in_parts_is_joined_and_other_parts_are_refused(requests: Requests, tmp_path: Path) -> None:
    """Parts of text are text; an image is that row's error, by name."""
    parts = [
        [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
        [{"type": "image_url", "image_url": {}}],
        None,
    ]
    turns = [json.dumps([{"role": "user", "content": content}]) for content in parts]
    written, refused = _written(tmp_path, _PLAIN, _rows(requests, *({"turns": each} for each in turns)))
    assert written[0].startswith("[user]A\nB\n[user]Hi")
    assert "'image_url'" in refused[1]["error"]
    assert refused[1]["bounced"]
    assert written[2].startswith("[user]\n[user]Hi")


def test_half_a_character_and_nothing_at_all_end_no_batch(requests: Requests, tmp_path: Path) -> None:
    """Half a character, which JSON may hold, is replaced; a prompt without any token is that row's error."""
    turns = '[{"role": "user", "content": "cut \\ud83d"}]'
    batch = _rows(requests, {"turns": turns}, {"prompt": "", "raw": True}, {"turns": "[7]"}, {})
    written, refused = _written(tmp_path, _PLAIN, batch)
    assert written[0].startswith("[user]cut ?\n")
    assert refused[1]["error"] == "the prompt is empty"
    assert refused[2]["error"] == "turns and after must be JSON lists of chat messages"
    assert 3 in written


def test_tool_calls_need_a_template_that_knows_them(requests: Requests, tmp_path: Path) -> None:
    """Their arguments are objects in the template, and where it knows no calls the row fails and names them."""
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "c"},
    ]
    batch = requests("And now?", turns=json.dumps(turns))
    written, _ = _written(tmp_path / "knows", _TOOLS, batch)
    assert "[assistant]Oslo\n[tool]rain\n" in written[0]
    _, refused = _written(tmp_path / "plain", _PLAIN, batch)
    assert refused[0]["error"].startswith("tool_calls: ")


@pytest.mark.parametrize(
    ("template", "effort", "end"),
    [
        (_THINKS, "none", "<none>"),
        (_THINKS, "high", "[a]"),
        (_WEIGHS, "high", "<high>"),
        (_WEIGHS, "4000", "<medium>"),
        (_PLAIN, "none", "[a]"),
        (_PLAIN, "high", None),
    ],
)
def test_a_reasoning_effort_is_the_templates(
    template: str, effort: str, end: str | None, requests: Requests, tmp_path: Path
) -> None:
    """Templates that can turn thinking off, or weigh it, get it; one without thoughts does as 'none' says."""
    written, refused = _written(tmp_path, template, requests("Why?", reasoning_effort=effort))
    if end is None:
        assert refused[0]["error"].startswith("reasoning_effort: ")
        assert refused[0]["bounced"]
    else:
        assert written[0].endswith(end)


def test_without_a_template_the_conversation_is_text(requests: Requests, tmp_path: Path) -> None:
    """Its turns are written one below the other, and a raw prompt is treated the same."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(save_model(tmp_path))
    [(_, ids)], refused = tokens_of([Request(0, "q", "Who?", "Be short.", 5, 0.0)], tokenizer)
    assert tokenizer.decode(ids) == "Be short.\n\nWho?"
    assert not refused
