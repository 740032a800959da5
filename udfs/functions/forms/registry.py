"""All forms, by the name of their raw function."""

from __future__ import annotations

from leeroo.udfs.functions.forms import (
    aggregates,
    answers,
    choices,
    embeddings,
    extracts,
    judgements,
    labels,
    predictions,
    records,
    searches,
    solutions,
)
from leeroo.udfs.functions.forms.form import Form

FORMS: dict[str, Form] = {
    **answers.FORMS,
    **choices.FORMS,
    **labels.FORMS,
    **judgements.FORMS,
    **extracts.FORMS,
    **records.FORMS,
    **solutions.FORMS,
    **predictions.FORMS,
    **embeddings.FORMS,
    **searches.FORMS,
    **aggregates.FORMS,
}
