"""The findings about a proxy: what it labelled, how often that differs from the experts, or why it labelled nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from leeroo.engine.jobs.proxy.threshold import exact_interval
from leeroo.engine.orchestrator.analysis.frontier import Interval

# The name of the expert of its labels.
PROXY = "proxy"


@dataclass(frozen=True)
class ProxyFindings:
    """How a classifier that learned from the experts labelled a part of a table; counts are of different texts.

    Attributes:
        texts: All of them.
        off: Why it labelled none; None where it did.
        labelled: Labelled by the classifier, at no cost.
        asked: Labelled by experts.
        sample: Drawn at random for the experts, to learn from and to choose the threshold on.
        checked: Drawn at random among those that the classifier labelled, and sent to the experts as well.
        differing: Those of them whose label differs from the experts'.
        promise: The share of the classifier's labels that may differ.
        repeated, repeated_alike: Texts that the experts labelled twice, and those with the same label both times.
    """

    texts: int
    off: str | None = None
    labelled: int = 0
    asked: int = 0
    sample: int = 0
    checked: int = 0
    differing: int = 0
    promise: float = 0.0
    repeated: int = 0
    repeated_alike: int = 0

    @property
    def difference(self) -> Interval | None:
        """The share of the classifier's labels that differ from the experts', with its 95 % interval."""
        if self.off is not None or not self.checked:
            return None
        return Interval(self.differing / self.checked, *exact_interval(self.differing, self.checked))

    def as_json(self) -> dict[str, Any]:
        """Return what `leeroo label --json` prints about it."""
        difference = self.difference
        return {**asdict(self), "difference": None if difference is None else asdict(difference)}


def summarize(found: ProxyFindings) -> str:
    """Say in one line what the proxy did, or why it did nothing."""
    difference = found.difference
    if difference is None:
        return f"no proxy: {found.off}"
    low, high = f"{difference.low:.1%}", f"{difference.high:.1%}"
    return (
        f"the proxy labelled {found.labelled:,} of {found.texts:,} different texts; of {found.checked:,} that experts "
        f"checked, {found.differing:,} differ ({low} to {high})"
    )
