"""The dialect of an API: the body of a request, in the parameters that this server and model take.

It begins as OpenAI's and is learned from refusals: a parameter that is refused by name is left out or renamed from then
on. A parameter that a row sets itself is never left out: such a row is another expert's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from leeroo.engine.backends.api.effort import EFFORT_NAMES, EffortForm
from leeroo.engine.backends.api.faults import Fault, storable
from leeroo.engine.backends.completions import Request, fold_system
from leeroo.engine.backends.decisions import answer_schema, read_decisions
from leeroo.engine.backends.schemas import ANY_OBJECT
from leeroo.engine.images.pixels import NoImage

_TOP_LOGPROBS = 20  # the most that OpenAI gives
_REFUSING = (400, 422, 500)
_REFUSED = re.compile(
    r"un(supported|known|recogni[sz]ed|expected)|not (support|permitted|allowed|recogni[sz]ed)"
    r"|extra[ _](input|field|forbidden)|instead",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"\bsystem\b.*\b(role|message|prompt)s?\b|\b(role|message)s?\b.*\bsystem\b|roles must alternate", re.IGNORECASE
)
# Parameters that we add, so that we may do without them; and those that rows set.
_ADDED = ("temperature", "logprobs", "top_logprobs", "response_format")
_OF_ROWS = ("top_p", "seed", "stop", "frequency_penalty", "presence_penalty")
_LOGPROBS = frozenset(("logprobs", "top_logprobs"))
# The limit's name; where it is refused, its new name replaces it.
_LIMIT = "max_tokens"
# The name of the role, which may be refused as parameters are.
_SYSTEM = "system"

# Names that a server refuses.
Refused = frozenset[str]


@dataclass(frozen=True)
class Dialect:
    """The parameters of a server and model.

    Attributes:
        effort: The form in which it takes an effort.
        refused: The names that it refuses.
        longest: The most pixels of a side of an image.
    """

    effort: EffortForm
    refused: Refused = field(default_factory=Refused)
    longest: int = 2048

    def without(self, names: Refused) -> Dialect:
        """Return the dialect in which these names are refused too."""
        return replace(self, refused=self.refused | names)

    def with_all(self) -> Dialect:
        """Return the dialect in which no name is refused."""
        return replace(self, refused=Refused())


def body(request: Request, dialect: Dialect) -> dict[str, Any]:
    """Return messages and parameters of a request, but those that this server refuses.

    Raises:
        Fault: an image cannot be shown.

    """
    messages, refused = _with_images(request, dialect.longest), dialect.refused
    whole = {
        "messages": fold_system(messages) if _SYSTEM in refused else messages,
        "max_completion_tokens" if _LIMIT in refused else _LIMIT: request.max_tokens,
        "temperature": request.temperature,
        **{name: value for name in _OF_ROWS if (value := getattr(request, name)) is not None},
        **_form(request),
    }
    sent = {name: value for name, value in whole.items() if name not in refused} | _effort(request, dialect)
    # JSON from others may hold half a character, which cannot be sent.
    cleaned: dict[str, Any] = json.loads(storable(json.dumps(sent, ensure_ascii=False)))
    return cleaned


def _with_images(request: Request, longest: int) -> list[Any]:
    """Return the messages of a request with its images as parts of OpenAI's API."""
    if not request.images:
        return request.messages
    try:
        urls = [image.url(longest) for image in request.images]
    except NoImage as error:
        raise Fault(str(error), blames="row") from None

    def shown(part: Any) -> Any:
        return {"type": "image_url", "image_url": {"url": urls[part["image"]]}} if part["type"] == "image" else part

    return [
        {**each, "content": [shown(part) for part in each["content"]]} if _has_images(each) else each
        for each in request.messages
    ]


def _has_images(message: Any) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") == "image" for part in content)


def own_settings(request: Request) -> str:
    """Return what a row or its expert sets and is never left out, as text: what is refused once is refused again."""
    names = (*_OF_ROWS, "reasoning_effort", "top_logprobs")
    return json.dumps([getattr(request, name) for name in names])


def learn_refused(fault: Fault, request: Request, dialect: Dialect) -> Refused:
    """Return the names that a server newly refuses, by its fault; none where that is no such refusal.

    Raises:
        Fault: it refuses what the row or its expert sets.

    """
    if fault.status not in _REFUSING or fault.blames != "expert":
        return Refused()
    sent = body(request, dialect)
    of_row = [name for name in _OF_ROWS if name in sent and _names(fault, name)]
    of_row += ["top_logprobs"] if request.top_logprobs is not None and _names(fault, "logprobs") else []
    if of_row:
        raise replace(fault, message=f"the API does not take {of_row[0]!r}: {fault.message}", blames="nobody")
    if _LIMIT in sent and _names(fault, _LIMIT) and _REFUSED.search(fault.detail):
        return Refused([_LIMIT])
    added = Refused(name for name in _ADDED if name in sent and _names(fault, name))
    # A row's temperature may be out of range, which is no reason to answer at another.
    if request.temperature and not _REFUSED.search(fault.detail):
        added -= {"temperature"}
    if added & _LOGPROBS:
        return added | _LOGPROBS
    if not added and (of_effort := Refused(name for name in EFFORT_NAMES if name in sent and _names(fault, name))):
        return _other_effort(fault, request, dialect, of_effort)
    if not added and any(each["role"] == _SYSTEM for each in sent["messages"]) and _NO_SYSTEM.search(fault.message):
        return Refused([_SYSTEM])
    return added


def _other_effort(fault: Fault, request: Request, dialect: Dialect, refused: Refused) -> Refused:
    """Return refused parameters of an effort, where it has another form.

    Raises:
        Fault: it has none.

    """
    if _effort(request, dialect.without(refused)) != _effort(request, dialect):
        return refused
    why = f"the API does not take the effort {request.reasoning_effort!r}: {fault.message}"
    raise replace(fault, message=why, blames="nobody")


def _effort(request: Request, dialect: Dialect) -> dict[str, Any]:
    effort = request.reasoning_effort
    return {} if effort is None else dialect.effort(effort, dialect.refused)


def _names(fault: Fault, name: str) -> bool:
    """Return whether a refusal names a parameter: as its cause, in quotes, or as a word that means nothing else."""
    if fault.param is not None and fault.param.split(".")[0] in (*_ADDED, *_OF_ROWS, *EFFORT_NAMES, _LIMIT):
        return fault.param.split(".")[0] == name
    if "_" not in name and name not in ("temperature", "logprobs"):
        return re.search(rf"""["'`.]{name}\b""", fault.detail) is not None
    return re.search(rf"\b{name}\b", fault.detail) is not None


def _form(request: Request) -> dict[str, Any]:
    """Return the parameters of an answer's form; the system text says it too, since some servers ignore them."""
    if request.choices is not None:
        return {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
    form: dict[str, Any] = {}
    if request.json_schema is not None:
        form["response_format"] = _response_format(json.loads(request.json_schema))
    if request.decisions is not None:
        form["response_format"] = _response_format(answer_schema(read_decisions(request.decisions)))
        form |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
    elif request.top_logprobs is not None:
        form |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return form


def _response_format(schema: Any) -> dict[str, Any]:
    if schema == ANY_OBJECT:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
