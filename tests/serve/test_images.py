"""Images in the lines of batch files reach an expert that sees, and bad ones are errors of their lines."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tests.pictures import picture
from tests.provider import Provider
from tests.serve.talk import Server, chat, content, jsonl, submit, wait

RED = "data:image/png;base64," + base64.b64encode(picture("red")).decode()


def _line(name: str, url: str) -> dict[str, Any]:
    line = chat(name, "")
    image = {"type": "image_url", "image_url": {"url": url}}
    line["body"]["messages"] = [{"role": "user", "content": [{"type": "text", "text": "What? "}, image]}]
    return line


def test_an_image_of_a_line_is_shown(api: Provider, tmp_path: Path) -> None:
    """The same image in two lines is one request; a broken one and a web address cost no other line."""
    (tmp_path / "pool.toml").write_text(api.entry("blind", 1, 8) + api.entry("eyes", 1, 8, "images = true"))
    server = Server(tmp_path).start()
    try:
        client = server.client()
        urls = [RED, RED, RED[:60], "data:image/png;base64,AAAA", "https://example.com/cat.png"]
        lines = [_line(str(number), url) for number, url in enumerate(urls)]
        batch = wait(client, submit(client, jsonl(lines)).id)
        done = {line["custom_id"]: line["response"]["body"] for line in content(client, batch.output_file_id)}
        failed = {line["custom_id"]: line for line in content(client, batch.error_file_id)}
    finally:
        server.stop()
    assert set(done) == {"0", "1"}
    assert {body["model"] for body in done.values()} == {"eyes"}
    [sent] = api.bodies
    assert sent["messages"][0]["content"] == lines[0]["body"]["messages"][0]["content"]
    assert "the file is broken" in str(failed["2"]) or "no base64" in str(failed["2"])
    assert "no image of a known kind" in str(failed["3"])
    assert "none is fetched" in str(failed["4"])
