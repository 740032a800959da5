"""Read typed fields out of texts with a class, and decide several questions about each in one request."""

import dataclasses
from typing import Literal

import leeroo


@dataclasses.dataclass
class Review:
    """The fields; a Pydantic model does as well."""

    product: str
    stars: Literal[1, 2, 3, 4, 5]


REVIEWS = [
    "The kettle boils in a minute and looks lovely. Five stars.",
    "My umbrella broke on the first windy day. One star.",
    None,
]

# Values are of their types; whether they are right depends on the model.
fields = leeroo.extract(REVIEWS, Review, max_tokens=60)
for text, product, stars in zip(REVIEWS, fields.column("product"), fields.column("stars"), strict=True):
    print(text, "->", product, stars)

decided = leeroo.decide(REVIEWS, {"mood": ["glad", "angry"], "broken": [True, False]})
for mood, sure, broken in zip(*(decided.column(name) for name in ("mood", "mood_confidence", "broken")), strict=True):
    print(mood, sure, broken)
