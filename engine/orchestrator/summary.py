"""The summary of a router's training that is kept in its folder for people to read."""

from __future__ import annotations

from statistics import fmean

from pydantic import BaseModel, ConfigDict


class ExpertSummary(BaseModel):
    """How well one expert's success is predicted, on training questions held out in turn.

    Attributes:
        outcomes: Training questions with a recorded score.
        mean_score: Mean of those scores.
        log_loss: Cross-validated, in nats; `rate_log_loss` is that of always predicting the mean.
        ece: Expected calibration error of the cross-validated predictions.
        learned: False where the questions do not help and the mean is predicted for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcomes: int
    mean_score: float
    log_loss: float
    rate_log_loss: float
    ece: float
    learned: bool


class Summary(BaseModel):
    """How well a router does, as means over its experts, and each expert by name.

    Attributes:
        questions: Distinct training questions.
        outcomes: Recorded scores on them.
        seed: Decides the folds of the cross-validation.
        log_loss: Mean of the experts' cross-validated log losses, in nats.
        ece: Mean of their expected calibration errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: int
    outcomes: int
    seed: int
    log_loss: float
    ece: float
    experts: dict[str, ExpertSummary]

    @classmethod
    def of(cls, experts: dict[str, ExpertSummary], questions: int, seed: int) -> Summary:
        """Combine the summaries of the experts."""
        return cls(
            questions=questions,
            outcomes=sum(expert.outcomes for expert in experts.values()),
            seed=seed,
            log_loss=fmean(expert.log_loss for expert in experts.values()),
            ece=fmean(expert.ece for expert in experts.values()),
            experts=experts,
        )
