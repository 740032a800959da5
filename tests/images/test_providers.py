"""Images at providers: through any-llm-sdk to Anthropic, and in the lines of four batch APIs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.api.batches.anthropic import AnthropicBatches
from leeroo.engine.backends.api.batches.gemini import GeminiBatches
from leeroo.engine.backends.api.batches.mistral import MistralJobs
from leeroo.engine.backends.api.batches.openai_files import OpenAIFiles
from leeroo.engine.backends.api.dialect import Dialect, body
from leeroo.engine.backends.api.effort import effort_form
from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.completions import Request
from leeroo.engine.images.shown import ShownImage
from leeroo.engine.pool import Expert, Pool
from tests.anthropic_api import running
from tests.pictures import picture

RED = picture("red")
CODE = base64.b64encode(RED).decode()


def _sent(api: type[Any], request: Request) -> dict[str, Any]:
    """Return a line of a batch."""
    line: dict[str, Any] = json.loads(api(None, "m").write("n", body(request, Dialect(effort_form(None, None)))))
    return line


@pytest.fixture
def request_with_image() -> Request:
    """Make a request with an image between two texts."""
    return Request(1, "q", "What is <1> here?", "Be short.", 8, 0.0, images=[ShownImage("<1>", 50, 40, data=RED)])


def test_lines_of_batches_have_images_in_each_providers_form(request_with_image: Request) -> None:
    """OpenAI and Mistral take parts with data: URLs, Anthropic sources, Gemini inline data."""
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CODE}"}}
    before, after = {"type": "text", "text": "What is "}, {"type": "text", "text": " here?"}
    for api in (OpenAIFiles, MistralJobs):
        assert _sent(api, request_with_image)["body"]["messages"][-1]["content"] == [before, url, after]
    params = _sent(AnthropicBatches, request_with_image)["params"]
    source = {"type": "base64", "media_type": "image/png", "data": CODE}
    assert params["messages"] == [{"role": "user", "content": [before, {"type": "image", "source": source}, after]}]
    [turn] = _sent(GeminiBatches, request_with_image)["request"]["contents"]
    inline = {"inlineData": {"mimeType": "image/png", "data": CODE}}
    assert turn["parts"] == [{"text": "What is "}, inline, {"text": " here?"}]


def test_an_image_that_is_gone_is_a_fault_of_its_row() -> None:
    """No other expert could show it either."""
    gone = Request(1, "q", "<1>", None, 8, 0.0, images=[ShownImage("<1>", path="/gone/away")])
    with pytest.raises(Fault, match="cannot be read") as raised:
        body(gone, Dialect(effort_form(None, None)))
    assert raised.value.blames == "row"


def test_any_llm_passes_images_on_to_anthropic(tmp_path: Path) -> None:
    """The package turns parts of OpenAI's form into those of the Messages API."""
    prices: dict[str, Any] = {"usd_per_m_input": 3, "usd_per_m_output": 15}
    options = {"provider": "anthropic", "max_retries": 0}
    with running() as claude:
        eyes = Expert(
            name="claude",
            model="claude-sonnet-4-5",
            backend="openai",
            base_url=claude.url,
            engine=options,
            images=True,
            **prices,
        )
        table = pa.table({"photo": pa.array([RED], pa.binary())})
        with Engine(Pool(default="claude", experts=(eyes,)), store=tmp_path) as engine:
            [row] = engine.answer_table(table.to_reader(), Criteria(prompt="What? {photo}")).to_pylist()
    assert (row["answer"], row["error"]) == ("echo", None)
    [sent] = claude.bodies
    assert sent["messages"][0]["content"][-1]["source"]["data"] == CODE
