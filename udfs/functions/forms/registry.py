"""All forms, by the name of their raw function."""

from __future__ import annotations

<<<<<<< HEAD
from leeroo.udfs.functions.forms import answers, choices, extracts, labels, predictions, records, solutions
=======
from leeroo.udfs.functions.forms import answers, choices, embeddings, extracts, labels, predictions, solutions
>>>>>>> 33b8e10 (leeroo_embed and leeroo_similarity: vectors whose size the planner knows, each text embedded once)
from leeroo.udfs.functions.forms.form import Form

FORMS: dict[str, Form] = {
    **answers.FORMS,
    **choices.FORMS,
    **labels.FORMS,
    **extracts.FORMS,
    **records.FORMS,
    **solutions.FORMS,
    **predictions.FORMS,
    **embeddings.FORMS,
}
