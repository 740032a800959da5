"""Experts behind a real API whose skills are known, and their answers to the questions of a loop of self-play."""

from __future__ import annotations

import zlib
from pathlib import Path

import pyarrow.parquet as pq

# The families of questions that each expert is right about; 'strong' and 'judge' know the authors of books as well.
SKILLS = {"strong": ("arithmetic", "dates"), "weak": ("units",), "new": ("words",), "judge": (), "liar": ()}
FAMILIES = ("arithmetic", "dates", "units", "words")
_WRITTEN = (
    "Who wrote the Odyssey?",
    "Which play has a prince of Denmark in it?",
    "Who painted the ceiling of the chapel in Rome?",
    "Which novel begins with a white whale being hunted?",
    "Who composed the opera about a magic flute?",
    "Which poem leads through hell and paradise?",
    "Who invented the story of the robot laws?",
    "In which book does a girl fall into a rabbit hole?",
    "Who told of a voyage around the world in eighty days?",
    "Which knight fights against windmills in Spain?",
    "Who is the detective living in Baker Street?",
    "Which old man catches a great fish near Cuba?",
    "Who is shipwrecked on an island with Friday?",
    "Which doctor makes a creature out of corpses?",
    "Who painted sunflowers in the south of France?",
    "Which symphony ends with an ode to joy?",
    "What did Scrooge see on Christmas Eve?",
    "Which musketeer came from Gascony to Paris?",
    "Who carved a marble David for Florence?",
    "Which ballet has dancers dressed as swans?",
    "Who rules as Big Brother over Oceania?",
    "Which farm do the pigs take over?",
    "Whose portrait grows old in the attic?",
    "Who counts the nights with a thousand tales?",
    "Which boy never grows up in Neverland?",
    "What is burned at 451 degrees Fahrenheit?",
    "Which bear lives in the Hundred Acre Wood?",
    "Who wakes up one morning as an insect?",
    "Which count drinks blood in Transylvania?",
    "Who sells his soul to Mephistopheles?",
    "Which island hides the gold of Captain Flint?",
    "Who set the four seasons for violins?",
    "Which ring is thrown into a volcano?",
    "Who falls in love from a balcony in Verona?",
    "Which puppet has a nose that grows?",
    "Who raises Mowgli in the jungle?",
)


class School:
    """The answers of the API's models: right on the topics of their skills, by the questions in a loop's folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.known: dict[str, tuple[str | None, str]] = {}

    def says(self, model: str, prompt: str) -> dict[str, float]:
        """Return the probabilities of a model's answers."""
        if prompt.startswith("Here are some questions"):
            return {f"1. {_WRITTEN[zlib.crc32(prompt.encode()) % len(_WRITTEN)]}": 1.0}
        if prompt.startswith("Can the following question"):
            return {"yes": 0.9, "no": 0.1}
        if "Which of the two answers is right?" in prompt:
            question, told = prompt.split("Question:\n")[1].split("\n\nAnswer A:")
            first, second = (self.right(question, text) for text in told.split("Which of")[0].split("Answer B:"))
            if model == "liar":
                first, second = not first, not second
            return {("both" if first else "neither") if first == second else "AB"[second]: 1.0}
        if "Is the answer right?" in prompt:
            question, told = prompt.split("Question:\n")[1].split("\n\nAnswer:\n")
            right = self.right(question, told.split("\n\nIs the")[0])
            return {"right" if right != (model == "liar") else "wrong": 1.0}
        answer, topic = self.look_up(prompt)
        if topic == "written":
            return {"Homer" if model in ("strong", "judge") else "Virgil": 1.0}
        return {str(answer) if topic in SKILLS[model] else "I do not know": 1.0}

    def right(self, question: str, text: str) -> bool:
        """Return whether an answer is right."""
        answer, topic = self.look_up(question)
        return text.strip() == ("Homer" if topic == "written" else answer)

    def look_up(self, question: str) -> tuple[str | None, str]:
        """Return the right answer and the topic of a question."""
        if question not in self.known:
            for file in self.out.glob("**/queries.parquet"):
                for row in pq.read_table(file).to_pylist():
                    family = row["made_by"] == "family"
                    self.known[row["question"]] = (row["answer"], row["topic"] if family else "written")
        return self.known[question]
