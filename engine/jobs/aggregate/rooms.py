"""The room of each group: how many tokens its requests may have, from the context of the expert that would answer.

Groups that fit into the smallest context may go to every expert. For a larger one the router says who would answer the
whole group, and that expert's context counts. Knows nothing of answers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.select import context_tokens, unavailable
from leeroo.engine.batch.price import BYTES_PER_TOKEN
from leeroo.engine.batch.prompts import build_asks
from leeroo.engine.jobs.aggregate.texts import count_tokens
from leeroo.engine.pool import Expert

# Least tokens of an answer where none are given, and the part of a context that it may take then.
ANSWER_TOKENS, ANSWER_PART = 256, 4
# A prompt is filled up to this part of its room: tokens are estimated.
_FILLED = 0.9
# Tokens that a chat template adds to a prompt, at most.
_TEMPLATE_TOKENS = 64
# Characters of a group that the router is shown: it reads less.
_SHOWN_CHARS = 64_000


@dataclass(frozen=True, kw_only=True)
class TextGroup:
    """The texts of a group, and what is wanted of them.

    Attributes:
        task: The request, in words.
        texts: The distinct texts with their counts, in the order of their content.
        expert, system, max_tokens: Of its requests; None leaves one to the expert that is chosen.
        private: Only local experts may see it.
    """

    task: str
    texts: Sequence[tuple[str, int]]
    expert: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    private: bool = False

    @property
    def count(self) -> int:
        """The number of its texts."""
        return sum(n for _, n in self.texts)

    @property
    def size(self) -> int:
        """The bytes of its distinct texts, those of the list around them included."""
        return sum(len(text.encode(errors="replace")) + 16 for text, _ in self.texts)


@dataclass(frozen=True)
class Room:
    """The limits of a group's requests, in tokens.

    Attributes:
        expert: The expert with this context.
        prompt: Of a prompt.
        answer: Of an answer.
        smaller: By expert with less room: the most tokens of a prompt.
    """

    expert: str
    prompt: int
    answer: int
    smaller: Mapping[str, int]

    def too_small(self, tokens: int) -> tuple[str, ...] | None:
        """Return the experts that a prompt of this length does not fit; None where there are none."""
        return tuple(name for name, room in self.smaller.items() if room < tokens) or None


def find_rooms(engine: Engine, groups: Sequence[TextGroup], criteria: Criteria) -> list[Room]:
    """Return the room of each group."""
    candidates = functools.cache(functools.partial(_candidates, engine, criteria))
    rooms_of = functools.cache(lambda *kind: _rooms(candidates(*kind[:2]), *kind[2:]))
    rooms = [rooms_of(group.expert, group.private, group.system, group.max_tokens) for group in groups]
    unsure = [i for i, own in enumerate(rooms) if own[0].prompt < own[-1].prompt and not _fits(groups[i], own)]
    chosen = dict(zip(unsure, _route(engine, [groups[i] for i in unsure], criteria), strict=True))
    return [_choose(own, chosen.get(i)) for i, own in enumerate(rooms)]


def _candidates(engine: Engine, criteria: Criteria, named: str | None, private: bool) -> tuple[Expert, ...]:
    """Return the experts that may answer a group which names an expert, or is private."""
    if named is not None or criteria.expert is not None:
        return (engine.pool[named or criteria.expert or ""],)
    may = tuple(e for e in engine.pool.experts if not private or e.location == "local") or engine.pool.experts
    # Where no expert can run here, the run says so.
    return tuple(e for e in may if unavailable(e) is None) or may


def _rooms(experts: Sequence[Expert], system: str | None, max_tokens: int | None) -> list[Room]:
    """Return the room that each of some experts has, the smallest first."""
    found = []
    for expert in experts:
        context = context_tokens(expert)
        usual = min(max(ANSWER_TOKENS, expert.max_tokens), max(1, context // ANSWER_PART))
        answer = max_tokens or usual
        around = count_tokens(((expert.system if system is None else system) or "") + (expert.template or ""))
        left = context - answer - expert.thinking_tokens - around - _TEMPLATE_TOKENS
        found.append(Room(expert.name, max(0, int(left * _FILLED)), answer, {}))
    return sorted(found, key=lambda room: room.prompt)


def _fits(group: TextGroup, rooms: Sequence[Room]) -> bool:
    """Say if a group certainly fits into the smallest of some rooms."""
    return group.size / BYTES_PER_TOKEN + count_tokens(group.task) + _TEMPLATE_TOKENS <= rooms[0].prompt


def _choose(rooms: Sequence[Room], expert: str | None) -> Room:
    """Return the room of an expert, or the smallest one, with the experts that have less."""
    room = next((room for room in rooms if room.expert == expert), rooms[0])
    return replace(room, smaller={other.expert: other.prompt for other in rooms if other.prompt < room.prompt})


def _route(engine: Engine, groups: Sequence[TextGroup], criteria: Criteria) -> list[str | None]:
    """Return the expert that would answer each group as one question; None where the budget does not reach."""
    if not groups:
        return []
    shown = [_beginning(group) for group in groups]
    part = min(1.0, sum(map(len, shown)) / sum(group.size for group in groups))
    usd = None if criteria.max_cost_usd is None else criteria.max_cost_usd * part
    asks = {"max_tokens": [group.max_tokens or ANSWER_TOKENS for group in groups]}
    table = pa.table(
        {
            "question": pa.array(shown, pa.string()),
            "private": pa.array([group.private for group in groups], pa.bool_()),
            "ask": build_asks(len(groups), asks),
        }
    )
    named = replace(criteria, column="question", private_column="private", ask_column="ask", prefix="route_")
    routes = engine.route(table.to_reader(), replace(named, max_cost_usd=usd)).read_all()
    names: list[str | None] = routes.column("route_expert").to_pylist()
    return names


def _beginning(group: TextGroup) -> str:
    """Return the task and the first texts of a group."""
    parts = [group.task]
    left = _SHOWN_CHARS
    for text, _ in group.texts:
        if left <= 0:
            break
        parts.append(text[:left])
        left -= len(text)
    return "\n".join(parts)
