"""Feedback belongs to whoever gave it, and keeps whether its question is private."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.store.feedback import Feedback, question_hash
from leeroo.engine.store.store import Store
from tests.store.conftest import keys, rows


def test_an_owner_replaces_only_its_own_feedback(tmp_path: Path) -> None:
    """When two owners judge one question, each sees and replaces only its own feedback."""
    store = Store(tmp_path)
    store.give([Feedback("q", "large", score=0.9, owner="a"), Feedback("q", "large", score=0.0, owner="b")])
    store.give([Feedback("q", "large", score=0.1, owner="b")])
    assert [(row["owner"], row["score"]) for row in store.feedback()] == [("a", 0.9), ("b", 0.1)]
    assert [row["score"] for row in store.feedback("a")] == [0.9]
    assert store.feedback("c") == []
    assert store.feedback("") == []


def test_golds_are_those_of_their_owner(tmp_path: Path) -> None:
    """A gold reaches every expert that answered, and never the feedback of somebody else."""
    store = Store(tmp_path)
    store.append(rows("a", expert="large", question_hash=question_hash("q"), private=False))
    store.give([Feedback("q", gold="one", owner="a"), Feedback("q", gold="two", owner="b")])
    store.give([Feedback("q", "small", answer="yes", gold="three", owner="c")])
    found = {(row["owner"], row["expert"]): row["gold"] for row in store.feedback()}
    assert found == {("a", "large"): "one", ("b", "large"): "two", ("c", "large"): "three", ("c", "small"): "three"}


def test_feedback_on_private_questions_is_private(tmp_path: Path) -> None:
    """Feedback is private if its row was private, if it says so, or if a later private row has the same question."""
    store = Store(tmp_path)
    for name, private in (("secret", True), ("public", False), ("later", False)):
        store.append(rows(name, expert="large", question_hash=question_hash(name), private=private))
    store.mark_private(keys("later"))
    store.give([Feedback(name, "large", score=1.0) for name in ("secret", "public", "later", "elsewhere")])
    store.give([Feedback("said", "large", score=1.0, private=True), Feedback("secret", gold="x", owner="b")])
    found = {(row["owner"], row["question"]): row["private"] for row in store.feedback()}
    assert found == {
        ("", "secret"): True,
        ("b", "secret"): True,
        ("", "public"): False,
        ("", "later"): True,
        ("", "elsewhere"): False,
        ("", "said"): True,
    }


def test_answers_to_private_rows_are_marked(engine: Engine) -> None:
    """An answer that the store already had from a public row is marked too."""
    question = "What is {0} plus {0}?".format
    for rows_of in ([(1, True), (2, False), (3, False)], [(3, True), (4, True), (4, False)]):
        table = pa.table({"question": [question(i) for i, _ in rows_of], "secret": [secret for _, secret in rows_of]})
        engine.answer_table(table.to_reader(), Criteria(private_column="secret"))
    engine.store.give([Feedback(question(i), "large", score=1.0) for i in range(1, 5)])
    found = {row["question"]: row["private"] for row in engine.store.feedback()}
    assert found == {question(1): True, question(2): False, question(3): True, question(4): True}
