"""Start the batch server, and use it with OpenAI's client."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import openai

HERE = Path(__file__).parent
PORT = "8091"
REQUESTS = [
    {
        "custom_id": str(number),
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "leeroo", "messages": [{"role": "user", "content": question}]},
    }
    for number, question in enumerate(["What is 45 divided by 5?", "Double the number 35."])
]

command = [sys.executable, "-m", "leeroo", "serve", "--pool", HERE / "replay.toml", "--port", PORT]
(HERE / "out").mkdir(exist_ok=True)
log = (HERE / "out" / "server.log").open("w")
server = subprocess.Popen([*map(str, command), "--store", str(HERE / "out" / "server")], stdout=log, stderr=log)
try:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=20)
    lines = "\n".join(map(json.dumps, REQUESTS)).encode()
    file = client.files.create(file=("requests.jsonl", io.BytesIO(lines)), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"max_cost_usd": "0.01"},
    )
    while batch.status in ("validating", "in_progress", "finalizing"):
        time.sleep(0.5)
        batch = client.batches.retrieve(batch.id)
    assert batch.output_file_id is not None, batch
    for line in client.files.content(batch.output_file_id).text.splitlines():
        result = json.loads(line)
        body = result["response"]["body"]
        print(result["custom_id"], body["choices"][0]["message"]["content"], body["leeroo"])
finally:
    server.terminate()
    server.wait()
    log.close()
