"""Learn experts together from sparse outcomes, when each question was sent to a few of them only.

This is a Gaussian process over pairs of question and expert. All experts share how hard a question is; each has a rate
and leanings of its own (the intrinsic coregionalisation model: Bonilla, Chai & Williams, "Multi-task Gaussian Process
Prediction", NIPS 2007). How much they share is fitted by the likelihood of the outcomes. The posterior's mean
is linear in the features: a head for each expert.

In the letters of Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006: `features` are X, `cholesky` is
L of K + noise, `solved` is alpha. Knows nothing of budgets and choices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Float32s, Float64s, Int64s

# Prior variances in units of the scores': the part of a question's difficulty that features explain, experts' rates,
# their leanings, the part of the difficulty that features do not explain, and noise. The spreads are standard
# deviations of their logarithms, and the noise has a lower bound. The spread of rates is small. Otherwise a few experts
# with many outcomes make them look alike, and an expert that was unlucky at first would get no question again.
_EXPECTED = (0.1, 0.07, 0.1, 0.2, 0.65)
_SPREADS, _LEAST_NOISE = np.array([1.0, 0.3, 1.0, 1.0, 1.0]), 0.2
# Forms of a question have one outcome, and so its noise in common, but for this part, without which alike rows would
# leave no inverse.
_OWN_NOISE = 0.05
# The most outcomes that the variances are fitted on.
_VARIANCE_OUTCOMES = 600


@dataclass(frozen=True)
class GaussianProcess:
    """The posterior of n outcomes of e experts, on features of width k.

    Attributes:
        weight, bias: [k, e] and [e], of its mean: the expected score is `features @ weight + bias`.
        held_out: [n, e], the expected scores of all experts on each outcome's question, without its outcomes.
        own_rates: [n, e], the part of the experts' mean expected scores that the outcomes of that question bring.
        variances: In the order of `_EXPECTED`, in units of the scores.
    """

    weight: Float64s
    bias: Float64s
    held_out: Float64s
    own_rates: Float64s
    variances: Float64s
    _outcomes: _Observations
    _cholesky: Float64s

    def beliefs(self, features: Float32s, columns: Int64s) -> Beliefs:
        """Return the beliefs about p pairs of question and expert, by features [p, k] and experts [p]."""
        from scipy.linalg import solve_triangular

        wide, observations = features.astype(np.float64), self._outcomes
        prior = _prior(self.variances, observations.features, observations.columns, wide, columns)
        explained = solve_triangular(self._cholesky, prior, lower=True, check_finite=False)
        return Beliefs(wide, columns, explained, self.variances)


@dataclass(frozen=True)
class Beliefs:
    """Posterior covariances of the expected scores of p pairs.

    Attributes:
        features, columns: [p, k] and [p], question and expert.
        explained: [n, p]; products of its columns are the reduction of the prior covariances by n outcomes.
        variances: Those of `GaussianProcess`.
    """

    features: Float64s
    columns: Int64s
    explained: Float64s
    variances: Float64s

    def at(self, rows: Int64s) -> Beliefs:
        """Keep some pairs."""
        return Beliefs(self.features[rows], self.columns[rows], self.explained[:, rows], self.variances)

    def covariance(self, other: Beliefs) -> Float64s:
        """Return the covariances [p, q] with q other pairs."""
        prior = _prior(self.variances, self.features, self.columns, other.features, other.columns)
        return prior - self.explained.T @ other.explained


@dataclass(frozen=True)
class _Observations:
    """Features [n, k] of the questions, experts [n], numbers of the questions from 0 on [n], and scores [n]."""

    features: Float64s
    columns: Int64s
    groups: Int64s
    scores: Float64s

    def some(self, most: int) -> _Observations:
        """Keep at most `most`, all of each question."""
        counts = np.bincount(self.groups)
        order = np.random.default_rng(0).permutation(len(counts))
        rows = np.flatnonzero(np.isin(self.groups, order[np.cumsum(counts[order]) <= most]))
        groups = np.unique(self.groups[rows], return_inverse=True)[1]
        return _Observations(self.features[rows], self.columns[rows], groups, self.scores[rows])

    def kernels(self) -> list[Float64s]:
        """Return the covariances [n, n] for variances of 1, in their order."""
        alike = self.features @ self.features.T
        same = (self.columns[:, None] == self.columns).astype(np.float64)
        question = (self.groups[:, None] == self.groups).astype(np.float64)
        noise = (1 - _OWN_NOISE) * question * same + _OWN_NOISE * np.eye(len(same))
        return [alike, same, alike * same, question, noise]

    def heads(self, solved: Float64s, variances: Float64s, e: int) -> tuple[Float64s, Float64s]:
        """Return the mean function of these solutions [n], as weights [k, e] and biases [e]."""
        mine = self.of_experts(solved, e)
        hard, rate, lean, *_ = variances
        weight = hard * (self.features.T @ solved)[:, None] + lean * (self.features.T @ mine)
        return weight, rate * mine.sum(axis=0)

    def own_parts(self, inverse: Float64s, solved: Float64s, variances: Float64s, e: int) -> tuple[Float64s, Float64s]:
        """Return the parts [n, e] of the expected scores that the outcomes of each one's question bring.

        The first is of those on that question, the second of their means over all outcomes. Without the outcomes I
        of a question the solutions are `solved - inverse[:, I] @ inverse[I, I]^-1 @ solved[I]` (Rasmussen &
        Williams, 5.4.2).
        """
        hard, rate, lean, *_ = variances
        alike = self.features @ self.features.T
        usual, parts = alike.mean(axis=0), np.empty((2, len(solved), e))
        order = np.argsort(self.groups, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(self.groups[order])) + 1):
            less = inverse[:, rows] @ np.linalg.solve(inverse[np.ix_(rows, rows)], solved[rows])
            mine = self.of_experts(less, e)
            for part, near in zip(parts, (alike[rows], usual[None]), strict=True):
                part[rows] = hard * (near @ less)[:, None] + lean * (near @ mine) + rate * mine.sum(axis=0)
        return parts[0], parts[1]

    def of_experts(self, values: Float64s, e: int) -> Float64s:
        """Spread values [n] over the columns of their experts, [n, e]."""
        spread = np.zeros((len(values), e))
        spread[np.arange(len(values)), self.columns] = values
        return spread


def fit_gaussian_process(
    features: Float32s, columns: Int64s, groups: Int64s, scores: Float32s, experts: int
) -> GaussianProcess:
    """Learn from n outcomes; time and memory grow with n cubed and squared: 3 s and 1 GB for 4,000.

    Args:
        features: [n, k], of the outcome's question; rows of length about 1.
        columns: [n], its expert.
        groups: [n], outcomes on the same question have the same number.
        scores: [n], not all the same.
        experts: The number of experts, including those without outcomes.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    observations = _Observations(features.astype(np.float64), columns, numbers, scores.astype(np.float64))
    variances = _fit_variances(observations.some(_VARIANCE_OUTCOMES))
    cholesky = _cholesky(observations.kernels(), variances)
    level, solved = _remove_level(cholesky, observations.scores)
    weight, bias = observations.heads(solved, variances, experts)
    bias += level
    own, own_rates = observations.own_parts(_inverse(cholesky), solved, variances, experts)
    held_out = observations.features @ weight + bias - own
    return GaussianProcess(weight, bias, held_out, own_rates, variances, observations, cholesky)


def _fit_variances(observations: _Observations) -> Float64s:
    """Return the likeliest variances, given the outcomes and the prior."""
    from scipy.optimize import minimize

    kernels = observations.kernels()
    scale = float(observations.scores.var()) or 1.0
    expected = np.log(np.array(_EXPECTED) * scale)

    def loss(logs: Float64s) -> tuple[float, Float64s]:
        variances = np.exp(logs)
        cholesky = _cholesky(kernels, variances)
        level, solved = _remove_level(cholesky, observations.scores)
        inverse = _inverse(cholesky)
        far = (logs - expected) / _SPREADS
        fits = 0.5 * (observations.scores - level) @ solved + np.log(np.diag(cholesky)).sum()
        slopes = [
            0.5 * variance * ((inverse * kernel).sum() - solved @ kernel @ solved)
            for variance, kernel in zip(variances, kernels, strict=True)
        ]
        return float(fits + 0.5 * far @ far), np.array(slopes) + far / _SPREADS

    bounds = [*[(None, None)] * 4, (np.log(_LEAST_NOISE * scale), None)]
    found = minimize(loss, expected, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-5})
    variances: Float64s = np.exp(found.x)
    return variances


def _prior(variances: Float64s, features: Float64s, columns: Int64s, others: Float64s, theirs: Int64s) -> Float64s:
    """Return the covariances of the expected scores of pairs before any outcome, [p, q]."""
    hard, rate, lean, *_ = variances
    alike = features @ others.T
    covariances: Float64s = hard * alike + (columns[:, None] == theirs) * (rate + lean * alike)
    return covariances


def _cholesky(kernels: list[Float64s], variances: Float64s) -> Float64s:
    return np.linalg.cholesky(sum(v * kernel for v, kernel in zip(variances, kernels, strict=True)))


def _remove_level(cholesky: Float64s, scores: Float64s) -> tuple[float, Float64s]:
    """Return the level that makes scores [n] likeliest, and the solutions [n] of the scores less that level.

    The scores' mean would be that of the experts with the most outcomes, which is not the level of all.
    """
    from scipy.linalg import cho_solve

    both = np.stack([np.ones_like(scores), scores], axis=1)
    ones, solved = cho_solve((cholesky, True), both, check_finite=False).T
    level = float(solved.sum() / ones.sum())
    return level, solved - level * ones


def _inverse(cholesky: Float64s) -> Float64s:
    from scipy.linalg.lapack import dpotri

    lower = dpotri(cholesky, lower=True)[0]
    inverse: Float64s = np.tril(lower) + np.tril(lower, -1).T
    return inverse
