"""A key that a living run has claimed is nobody else's; a dead run's claims are free at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from leeroo.engine.store.runs import Run, release
from leeroo.engine.store.spending import Charge
from leeroo.engine.store.store import Store
from tests.store.conftest import Beside, claimed, key, keys, rows


def test_a_key_is_granted_once(tmp_path: Path) -> None:
    """Two runs are two owners, in one process and on one connection too."""
    store = Store(tmp_path)
    one, two = store.begin("one", 3), store.begin("two", 3)
    assert claimed(store, one, keys("a", "b"), [0.1, 0.1]) == [True, True]
    assert claimed(store, two, keys("b", "c"), [0.1, 0.1]) == [False, True]
    assert claimed(Store(tmp_path), one, keys("a"), [0.1]) == [True]  # its own


def test_a_stored_answer_is_not_claimed(tmp_path: Path) -> None:
    """What has been answered in the meantime is read, not paid for again."""
    store = Store(tmp_path)
    run = store.begin("one", 3)
    store.append(rows("a"))
    assert claimed(store, run, keys("a", "b"), [0.1, 0.1]) == [False, True]


def test_a_claim_ends(tmp_path: Path) -> None:
    """With its answer, its charge, its release, or its run."""
    store = Store(tmp_path)
    one, two = store.begin("one", 9), store.begin("two", 9)
    claimed(store, one, keys("answered", "charged", "released", "open"), [0.1] * 4)
    store.append(rows("answered"))
    store.charge([Charge(one.run, "q", "large", 1, 1, 0.1, key("charged"))])
    store.release_claims(one, [key("released")])
    found = claimed(store, two, keys("answered", "charged", "released", "open"), [0.1] * 4)
    assert found == [False, True, True, False]
    store.finish(one, 1.0, 1.0)
    assert claimed(store, two, keys("open"), [0.1]) == [True]


def test_a_run_cannot_end_the_claim_of_another(tmp_path: Path) -> None:
    """Releasing a claim that one does not hold changes nothing."""
    store = Store(tmp_path)
    one, two = store.begin("one", 1), store.begin("two", 1)
    claimed(store, one, keys("a"), [0.1])
    store.release_claims(two, [key("a")])
    assert claimed(store, two, keys("a"), [0.1]) == [False]


def test_claims_of_a_killed_process_are_free_at_once(tmp_path: Path, beside: Beside) -> None:
    """While the process lives its key is taken; after kill -9 the next claim gets it without a wait."""
    other = beside(tmp_path, "run = store.begin('other', 1); claimed(store, run, keys('a', 'b'), [0.25, 0.5])")
    store = Store(tmp_path)
    run = store.begin("own", 1)
    assert claimed(store, run, keys("a"), [0.1]) == [False]
    other.kill()
    other.wait()
    assert claimed(store, run, keys("a", "b"), [0.1, 0.1]) == [True, True]


def test_a_resumed_run_knows_the_calls_in_flight(tmp_path: Path, beside: Beside) -> None:
    """Each kill adds the most that its requests may have cost, whether others took the claims over or not."""
    flying = "run = store.begin('job', 1); claimed(store, run, keys('a', 'b', 'c'), [0.25, 0.5, 1.0]); store.append(rows('c', run=run.run))"
    first = beside(tmp_path, flying)
    first.kill()
    first.wait()
    store = Store(tmp_path)
    taker = store.begin("other job", 1)
    assert claimed(store, taker, keys("a"), [0.1]) == [True]
    second = beside(tmp_path, "run = store.begin('job', 1); claimed(store, run, keys('d'), [2.0])")
    second.kill()
    second.wait()
    resumed = store.begin("job", 1)
    assert resumed.resumed
    assert store.in_flight(resumed) == 2.75
    assert store.in_flight(taker) == 0


def test_a_run_that_was_given_up_leaves_its_flight_to_the_next(tmp_path: Path) -> None:
    """What was under way when a run stopped without ending counts as in flight, within one process too."""
    store = Store(tmp_path)
    run = store.begin("job", 1)
    claimed(store, run, keys("a"), [0.25])
    release(run)
    again = store.begin("job", 1)
    assert (again.run, store.in_flight(again)) == (run.run, 0.25)
    assert claimed(store, again, keys("a"), [0.25]) == [True]


def test_threads_and_processes_never_share_a_key(tmp_path: Path, beside: Beside) -> None:
    """Of keys that four runs want at the same time, each is granted exactly once."""
    store, ready = Store(tmp_path), tmp_path / "ready"
    granted: list[str] = []
    owners = [store.begin(name, 1) for name in ("one", "two", "three")]

    def work(run: Run) -> None:
        while not ready.exists():
            time.sleep(0.001)
        for at in range(100):
            mask = claimed(store, run, keys(f"{at}", f"{at + 1}"), [0.0, 0.0])
            granted.extend(str(at + i) for i, won in enumerate(mask) if won)

    threads = [threading.Thread(target=work, args=(run,)) for run in owners]
    for thread in threads:
        thread.start()
    far = """
run, won = store.begin('far', 1), []
(Path(sys.argv[1]) / 'ready').touch()
for at in range(100):
    mask = claimed(store, run, keys(str(at), str(at + 1)), [0.0, 0.0])
    won += [str(at + i) for i, granted in enumerate(mask) if granted]
(Path(sys.argv[1]) / 'won').write_text(' '.join(won))
"""
    beside(tmp_path, far)
    for thread in threads:
        thread.join()
    mine, theirs = set(granted), set((tmp_path / "won").read_text().split())
    assert mine | theirs == {str(at) for at in range(101)}
    assert not mine & theirs
    # Each run may claim again what is its own: a key comes up twice at most, as the second and as the first of a pair.
    assert max(granted.count(each) for each in mine) <= 2


def test_charges_are_counted(tmp_path: Path) -> None:
    """What was billed without an answer is in the sums of its run, in the list of runs and in the spend."""
    store = Store(tmp_path)
    run = store.begin("job", 1)
    store.append(rows("a", run=run.run, expert="large"))
    store.charge([Charge(run.run, "q", "large", 10, 5, 0.25), Charge(run.run, "q", "large", 10, 5, 0.25)])
    store.charge([Charge(run.run, "q2", "small", 1, 0, 0.125)])
    assert [(each.expert, each.cost_usd) for each in store.charges(run)] == [
        ("large", 0.25),
        ("large", 0.25),
        ("small", 0.125),
    ]
    assert [each["cost_usd"] for each in store.runs()] == [1.125]
    spent = {each["expert"]: (each["answers"], each["prompt_tokens"], each["cost_usd"]) for each in store.spend()}
    assert spent == {"large": (1, 27, 1.0), "small": (0, 1, 0.125)}


def test_charges_outlive_their_process(tmp_path: Path, beside: Beside) -> None:
    """The run that goes on after a kill counts what the killed one was charged."""
    other = beside(tmp_path, "run = store.begin('job', 1); store.charge([Charge(run.run, 'q', 'large', 10, 5, 0.25)])")
    other.kill()
    other.wait()
    store = Store(tmp_path)
    run = store.begin("job", 1)
    assert store.charges(run) == [Charge(run.run, "q", "large", 10, 5, 0.25)]
