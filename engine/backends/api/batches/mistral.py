"""Mistral's batch jobs: files as OpenAI's, and jobs of its own."""

from __future__ import annotations

import time
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from leeroo.engine.backends.api.batches.openai_files import CHAT, TOKEN, OpenAIFiles
from leeroo.engine.backends.api.batches.provider import Look
from leeroo.engine.backends.api.batches.wire import Text, Time, id_of, read
from leeroo.engine.backends.api.bills import table_or_empty
from leeroo.engine.backends.api.faults import Fault, line

MISTRAL = "https://api.mistral.ai/v1"
_PAGE = 100
_ENDED = ("SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED")


class _Error(BaseModel):
    message: str = "no reason given"


class _Job(BaseModel):
    id: str
    status: str
    created_at: Time = 0.0
    completed_at: Time = 0.0
    completed_requests: int = 0
    output_file: Text = None
    error_file: Text = None
    errors: list[_Error] = []
    metadata: Annotated[dict[str, Any], BeforeValidator(table_or_empty)] = {}


class _Page(BaseModel):
    data: list[_Job] = []


class MistralJobs(OpenAIFiles):
    """Batch jobs over a wire."""

    def create(self, file: str, lines: list[bytes], token: str) -> str:
        """Create a job over a file; all its lines are for one model."""
        del lines
        how = {"model": self._model, "endpoint": CHAT, "metadata": {TOKEN: token}}
        return id_of(self._wire.post("/batch/jobs", {"input_files": [file], **how}))

    def find(self, token: str, file: str, since: float, names: frozenset[str]) -> str | None:
        """Look through all jobs."""
        del file, since, names
        page = 0
        while jobs := read(_Page, self._wire.get("/batch/jobs", page=page, page_size=_PAGE)).data:
            for job in jobs:
                if job.metadata.get(TOKEN) == token:
                    return job.id
            if len(jobs) < _PAGE:
                break
            page += 1
        return None

    def look(self, remote: str) -> Look:
        """Return how far a job is."""
        job = read(_Job, self._wire.get(f"/batch/jobs/{remote}"))
        if job.status not in _ENDED:
            return Look(job.status, job.completed_requests)
        outputs = tuple(file for file in (job.output_file, job.error_file) if file)
        failure = None
        if job.status == "FAILED" and not outputs:
            why = job.errors[0].message if job.errors else "no reason given"
            failure = Fault(f"the batch was refused: {line(why)}", status=400, detail=why)
        return Look(job.status, job.completed_requests, job.completed_at or time.time(), outputs, failure)

    def cancel(self, remote: str) -> None:
        """Have a job end early."""
        try:
            self._wire.post(f"/batch/jobs/{remote}/cancel")
        except Fault as fault:
            if fault.status not in (400, 409, 422):  # it has ended
                raise
