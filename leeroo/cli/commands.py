"""Make commands of functions that take groups of options, and read what options say."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from leeroo.cli.log import Log, configure
from leeroo.cli.options import EngineOptions, ExpertOptions, LearnOptions, OutputOptions, PromptOptions, ShowOptions
from leeroo.engine.errors import UsageError
from leeroo.engine.process.imports import own_process, skip_pandas

if TYPE_CHECKING:
    from leeroo.engine.answer import Criteria

# Options as Python writes them, in errors of the engine: `prefix=`, or their whole name with an underscore.
_IN_PYTHON = re.compile(
    r"(?<!['\w])(?:([a-z]+(?:_[a-z]+)*)=(?![=\w'\"])|(max_cost_usd|cost_weight|latency_weight|on_error)\b)"
)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see each field of a command's dataclass parameters as an option, in the order of both."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {p.name: p.annotation for p in signature.parameters.values() if is_dataclass(p.annotation)}
    flat: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        flat += _flat(groups[parameter.name]) if parameter.name in groups else [parameter]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        skip_pandas()
        for name, group in groups.items():
            given[name] = _take(group, given)
        command(**given)

    return _with_options(run, signature, flat)


def logged(command: Callable[..., None]) -> Callable[..., None]:
    """Do as `grouped` does, and add the options of progress and logs, which hold before the command begins."""
    inner = grouped(command)
    signature = inspect.signature(inner)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        own_process()
        shown = _take(ShowOptions, given)
        configure(Log(shown.progress, shown.quiet, shown.log_file, shown.log_format))
        inner(**given)

    return _with_options(run, signature, [*signature.parameters.values(), *_flat(ShowOptions)])


def _flat(group: Any) -> list[inspect.Parameter]:
    """Return the fields of a group as parameters."""
    return list(inspect.signature(group, eval_str=True).parameters.values())


def _take(group: Any, given: dict[str, Any]) -> Any:
    """Take the fields of a group from what was given, and return the group."""
    return group(**{field.name: given.pop(field.name) for field in fields(group)})


def _with_options(
    run: Callable[..., None], signature: inspect.Signature, flat: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """Return a command that typer sees with these options."""
    options = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in flat]
    run.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def criteria(
    *groups: EngineOptions | PromptOptions | ExpertOptions | LearnOptions | OutputOptions, **more: Any
) -> Criteria:
    """Return the criteria of a run, from groups of options and from single ones."""
    from leeroo.engine.answer import Criteria

    known = {field.name for field in fields(Criteria)}
    given = {name: value for group in groups for name, value in vars(group).items() if name in known}
    return Criteria(**given, **more)


def names(option: str, listed: str, of: str = "names") -> list[str]:
    """Return the names in a list with commas between.

    Raises:
        UsageError: one of them is empty.
    """
    found = [name.strip() for name in listed.split(",")]
    if not all(found):
        raise UsageError(f"{option} takes {of} with commas between, but was given {listed!r}")
    return found


def in_options(message: str) -> str:
    """Return an error of the engine with the options as the command line writes them.

    >>> in_options("the output would have two columns 'answer': give the new ones a prefix=")
    "the output would have two columns 'answer': give the new ones a --prefix"
    """
    return _IN_PYTHON.sub(lambda found: "--" + (found[1] or found[2]).replace("_", "-"), message)
