"""The tree of one group: leaves of texts, and above them the answers of parts, which are merged level by level.

Requests are about as long as their room allows, so that the tree is low, and each depends on its own texts only. Knows
nothing of engines: it gives requests and takes their results.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from leeroo.engine.backends.completions import is_too_long
from leeroo.engine.batch.price import BYTES_PER_TOKEN
from leeroo.engine.jobs.aggregate.prompts import Answer, ask_all, ask_part, merge
from leeroo.engine.jobs.aggregate.rooms import Room, TextGroup
from leeroo.engine.jobs.aggregate.texts import Item, count_tokens, halve, items_of, pack, split_item
from leeroo.engine.jobs.solve.waves import StepRequest, StepResult
from leeroo.engine.money import DECIMALS

# Parts may end from this share of their room on. With less there are more of them; with more, a new text changes more.
_FILLED = 0.7
# The tokens of a text below which it is not split any more.
_LEAST_PIECE = 16


@dataclass
class Node:
    """A request of the tree: some texts, or some answers of the level below."""

    items: list[Item]
    result: StepResult | None = None
    prompt: str | None = None  # where it was written already

    @property
    def error(self) -> str | None:
        """Why it has no answer; None where it has one, or is open."""
        if self.result is None or self.result.answer is not None:
            return None
        return self.result.error or "the expert gave no answer"


@dataclass
class Tree:
    """A group, the nodes of its current level, and what its requests cost so far.

    Attributes:
        group: The texts.
        room: The limits of its requests.
        nodes: Of the current level, in the order of their texts.
        levels: The number of levels so far.
        requests: How many were answered, or failed.
        cut: How many answers ended at their limit of tokens.
        error: Why there is no answer.
    """

    group: TextGroup
    room: Room
    nodes: list[Node] = field(default_factory=list)
    levels: int = 1
    requests: int = 0
    cut: int = 0
    cost_usd: float = 0.0
    list_cost_usd: float = 0.0
    error: str | None = None

    def __post_init__(self) -> None:
        if not self.group.texts:
            self.levels = 0
            return
        # A prompt far beyond the room need not be written to know that.
        if self.group.size <= 2 * BYTES_PER_TOKEN * self.room.prompt:
            whole = Node([Item(text, texts=n, times=n) for text, n in self.group.texts])
            whole.prompt = ask_all(self.group.task, whole.items)
            self.nodes = [whole]
            if count_tokens(whole.prompt) <= self.room.prompt:
                return
        left = self.room.prompt - count_tokens(ask_part(self.group.task, []))
        if left < _LEAST_PIECE or self._merging_room < 2 * (Answer("").tokens + self.room.answer):
            self.nodes, self.error = [], self._why_no_room()
            return
        self.nodes = [Node(part) for part in pack(items_of(self.group.texts, left), left, _FILLED)]

    @property
    def open(self) -> list[Node]:
        """The nodes that have no result yet; none once the group failed."""
        return [] if self.error is not None else [node for node in self.nodes if node.result is None]

    @property
    def answer(self) -> StepResult | None:
        """The result for all texts; None as long as there is none."""
        return self.nodes[0].result if len(self.nodes) == 1 and self.error is None else None

    def prompt(self, node: Node) -> str:
        """Return the prompt of a node."""
        alone = len(self.nodes) == 1
        if self.levels > 1:
            return merge(self.group.task, node.items, last=alone)
        return (ask_all if alone else ask_part)(self.group.task, node.items)

    def request(self, node: Node) -> StepRequest:
        """Return the request of a node."""
        prompt = node.prompt or self.prompt(node)
        return StepRequest(
            what="merges" if self.levels > 1 else "texts",
            question=prompt,
            expert=self.group.expert,
            system=self.group.system,
            max_tokens=self.room.answer,
            private=self.group.private,
            excluded=self.room.too_small(count_tokens(prompt)) if self.room.smaller else None,
        )

    def merges_ahead(self) -> int:
        """Return how many merges the levels above will take, if all answers are as long as they may be."""
        merges, nodes = 0, len(self.nodes)
        if nodes < 2 or self.error is not None:
            return 0
        together = max(2, self._merging_room // (self.room.answer + 1))
        while nodes > 1:
            nodes = -(-nodes // together)
            merges += nodes
        return merges

    def take(self, node: Node, result: StepResult) -> None:
        """Take the result of a node; one that is too long for its expert after all becomes two nodes."""
        halves = self._halve(node) if is_too_long(result.error) else []
        if halves:
            at = next(i for i, each in enumerate(self.nodes) if each is node)
            self.nodes[at : at + 1] = [Node(items) for items in halves]
            return
        node.result = result
        self.requests += 1
        self.cut += result.finish_reason == "length"
        self.cost_usd += result.cost_usd
        self.list_cost_usd += result.list_cost_usd

    def climb(self) -> None:
        """Go to the next level, or note why the group failed, once all nodes of this one have results."""
        if self.open or self.error is not None:
            return
        failed = next(((i, node.error) for i, node in enumerate(self.nodes, 1) if node.error is not None), None)
        if failed is not None:
            number, why = failed
            self.error = why if len(self.nodes) == 1 else f"part {number} of {len(self.nodes)}: {why}"
        elif len(self.nodes) > 1:
            self._merge()

    def as_row(self) -> dict[str, Any]:
        """Return a row of `schema.AGGREGATED`."""
        return {
            "value": None if self.answer is None else (self.answer.answer or "").strip(),
            "texts": self.group.count,
            "requests": self.requests,
            "levels": self.levels,
            "cut": self.cut,
            "expert": None if self.answer is None else self.answer.expert,
            "cost_usd": round(self.cost_usd, DECIMALS),
            "list_cost_usd": round(self.list_cost_usd, DECIMALS),
            "error": self.error,
        }

    @property
    def _merging_room(self) -> int:
        """The tokens of answers that one request can merge."""
        return self.room.prompt - count_tokens(merge(self.group.task, [], last=True))

    def _merge(self) -> None:
        """Begin the next level: merges of the answers of this one."""
        answers = [Answer(_answer_of(node), texts=sum(item.texts for item in node.items)) for node in self.nodes]
        results = {id(answer): node.result for answer, node in zip(answers, self.nodes, strict=True)}
        parts = pack(answers, self._merging_room)
        if len(parts) == len(answers):  # answers are longer than was estimated; two at a time end as well
            parts = [answers[i : i + 2] for i in range(0, len(answers), 2)]
        # One answer alone is merged with nothing: it goes up as it is.
        self.nodes = [Node([*part], results[id(part[0])] if len(part) == 1 else None) for part in parts]
        self.levels += 1

    def _halve(self, node: Node) -> list[list[Item]]:
        """Return the items of a node in two halves; nothing where it cannot be halved."""
        items = node.items
        if self.levels > 1:
            return list(halve(items)) if len(items) > 2 else []
        if len(items) == 1:
            tokens = items[0].tokens
            pieces = split_item(items[0], tokens // 2 + 1) if tokens >= 2 * _LEAST_PIECE else []
            half = (len(pieces) + 1) // 2
            return [pieces[:half], pieces[half:]] if len(pieces) > 1 else []
        return list(halve(items))

    def _why_no_room(self) -> str:
        return (
            f"the texts do not fit into one request to {self.room.expert!r}, and beside the task and answers of"
            f" {self.room.answer:,} tokens there is no room for parts of them: give fewer max_tokens, a shorter task,"
            " or an expert with a longer context"
        )


def _answer_of(node: Node) -> str:
    return "" if node.result is None else (node.result.answer or "").strip()
