"""The wire: JSON and files to and from a provider, with everything that goes wrong as a `Fault`. Retries nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar

import openai
from pydantic import BaseModel, BeforeValidator, ValidationError

from leeroo.engine.backends.api.calls import fault_of_no_reply, transport
from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.faults import Fault, line, refusal
from leeroo.engine.backends.options import OpenAIOptions

# Seconds that a file may take, as a multiple of the time for one call.
_FILE_TIMES = 10


class Wire:
    """A connection to one server, used by several threads.

    Args:
        model: The model of the requests, for errors.
        options: Of the expert.
        endpoint: Of the expert.
        url: The address of the API.
        headers: Sent with each request.

    """

    def __init__(
        self, model: str, options: OpenAIOptions, endpoint: Endpoint, url: str, headers: Mapping[str, str]
    ) -> None:
        self._model, self._endpoint, self._timeout = model, endpoint, options.timeout
        self._url = url
        self._client = openai.OpenAI(
            base_url=self._url,
            api_key=endpoint.key or "none",
            default_query=endpoint.query,
            max_retries=0,
            timeout=options.timeout,
            http_client=openai.DefaultHttpxClient(**transport(options, endpoint)),
        )
        given = {"Authorization": None, **headers, **endpoint.headers}
        self._headers: dict[str, Any] = {
            name: openai.Omit() if value is None else value for name, value in given.items()
        }

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON at a path."""
        with self._faults():
            return self._client.get(path, cast_to=object, options={"params": query, "headers": self._headers})

    def post(self, path: str, body: Any = None) -> Any:
        """Send JSON, and return that of the reply."""
        with self._faults():
            return self._client.post(path, cast_to=object, body=body, options={"headers": self._headers})

    def cancel(self, path: str) -> None:
        """Send what ends a batch early; one that has ended already is left so."""
        try:
            self.post(path)
        except Fault as fault:
            if fault.status not in (400, 409):
                raise

    def upload(self, path: str, name: str, content: bytes, **fields: str) -> Any:
        """Send a file as a form, and return the JSON of the reply."""
        headers = {**self._headers, "Content-Type": "multipart/form-data"}
        with self._faults():
            return self._client.post(
                path,
                cast_to=object,
                body=fields,
                files=[("file", (name, content, "application/jsonl"))],
                options={"headers": headers, "timeout": _FILE_TIMES * self._timeout},
            )

    def content(self, path: str) -> bytes:
        """Return the content of a file."""
        headers = {**self._headers, "Accept": "application/binary"}
        with self._faults():
            reply = self._client.get(
                path,
                cast_to=openai.HttpxBinaryResponseContent,
                options={"headers": headers, "timeout": _FILE_TIMES * self._timeout},
            )
            return reply.content

    def delete(self, path: str) -> None:
        """Remove what is at a path."""
        with self._faults():
            self._client.delete(path, cast_to=object, options={"headers": self._headers})

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn errors of the client into faults."""
        try:
            yield
        except openai.APIStatusError as error:
            status, body, headers = error.status_code, error.response.content, error.response.headers
            raise self._redacted(refusal(status, body, headers, self._model, self._url)) from error
        except (openai.APITimeoutError, openai.APIConnectionError) as error:
            raise self._redacted(fault_of_no_reply(error, self._timeout)) from error
        except (openai.OpenAIError, ValueError, TypeError, RecursionError) as error:
            message = f"the API's reply cannot be read: {line(str(error))}"
            raise self._redacted(Fault(message, passes=True, unsure=True)) from error

    def _redacted(self, fault: Fault) -> Fault:
        fault.message = self._endpoint.redact(fault.message)
        return fault


Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], reply: Any) -> Model:
    """Read a reply of a batch API.

    Raises:
        Fault: it is something else.

    """
    try:
        return model.model_validate(reply)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise Fault(f"the API's reply is no batch: {place}: {line(wrong['msg'])}", passes=True, unsure=True) from None


def id_of(reply: Any) -> str:
    """Return the id of what was just made."""
    found = reply.get("id") if isinstance(reply, dict) else None
    if not isinstance(found, str) or not found:
        raise Fault("the API's reply holds no id", passes=True, unsure=True)
    return found


def seconds(time: Any) -> float:
    """Return a time, in seconds or as RFC 3339 has it, in seconds of the epoch; 0 for anything else."""
    if isinstance(time, int | float) and not isinstance(time, bool):
        return float(time)
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return 0.0


class InlineImage(NamedTuple):
    """An image in a message: its media type and its bytes in base64."""

    kind: str
    base64: str


def image_of(part: dict[str, Any]) -> InlineImage | None:
    """Return the image of a part in OpenAI's form, None for a part that is none."""
    if part.get("type") != "image_url":
        return None
    head, _, data = str(part["image_url"]["url"]).partition(",")
    return InlineImage(head.removeprefix("data:").removesuffix(";base64"), data)


# Fields of replies in which servers differ: anything else than a time or a text is none.
Time = Annotated[float, BeforeValidator(seconds)]
Text = Annotated[str | None, BeforeValidator(lambda value: value if isinstance(value, str) else None)]
