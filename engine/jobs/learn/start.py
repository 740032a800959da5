"""The start of a batch: what is known of the experts before the first answer."""

from __future__ import annotations

import numpy as np

from leeroo.engine.answer import Engine
from leeroo.engine.jobs.learn.asked import AskedTable
from leeroo.engine.jobs.learn.policy import mean_costs
from leeroo.engine.jobs.learn.skills import Prior, price_prior, router_prior
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.router import Router


def router_to_start(engine: Engine, learned: Router | None, say: LineListener) -> Router | None:
    """Return the router that is given, or what earlier batches learned, or what a shipped router knows of the pool."""
    engine.take_remarks()
    if engine.prior is None and engine.router is not None:
        return engine.router
    if learned is not None:
        say("starting from what earlier tables taught of this pool")
        return learned
    if engine.prior is not None:
        known = len(engine.prior.known)
        say(
            f"starting from the shipped router {engine.prior.name!r}, which knows {known} of {len(engine.pool.experts)}"
        )
        return engine.prior.learned
    return None


def known_beforehand(asked: AskedTable, router: Router | None) -> Prior:
    """Return what prices say of the experts, and what a router says of those that it knows."""
    usual = mean_costs(asked.costs, np.arange(len(asked.names)))
    prior = price_prior(np.nan_to_num(usual, posinf=0.0), len(asked.rows))
    known = [] if router is None else [name for name in asked.names if name in router.experts]
    if router is None or not known or not len(asked.rows):
        return prior
    predicted = router.predict(asked.questions.texts).scores
    scores = np.full(asked.costs.shape, np.nan)
    for name in known:
        scores[:, asked.names.index(name)] = predicted[:, router.experts.index(name)]
    return router_prior(prior, scores)
