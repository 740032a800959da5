"""The status page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.serve.talk import Serve, chat, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page whose errors, refused scripts and styles among them, fail the test."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert not wrong


def test_the_page_follows_a_batch_to_its_end(serve: Serve, api: Any, page: Page) -> None:
    """Progress, spend, experts and links come by themselves; what models and people write is shown as text."""
    api.delay_s = 0.02
    server = serve()
    client = server.client()
    page.goto(server.url)
    expect(page.get_by_text("There are no batches.")).to_be_visible()
    lines = jsonl(
        [chat(str(i), f"question {i}") for i in range(400)] + [chat("bad", "x", model="<img src=x onerror=alert(1)>")]
    )
    batch = submit(client, lines, metadata={"name": "<script>document.title = 'broken'</script>", "max_cost_usd": "1"})
    card = page.get_by_role("article", name=batch.id)
    expect(card.get_by_text("in progress")).to_be_visible()
    expect(card.get_by_role("button", name=f"Cancel {batch.id}")).to_be_visible()
    wait(client, batch.id)
    expect(card.get_by_text("completed")).to_be_visible()
    expect(card.get_by_label("401 of 401 rows, 1 failed")).to_have_attribute("value", "401")
    expect(card.get_by_label("$0.06 spent of $1.00")).to_be_visible()
    expect(card.get_by_role("row", name="large 400 $0.06")).to_be_visible()
    expect(card.get_by_role("img", name="Rows and cost over")).to_be_visible()
    expect(card.get_by_text("<script>document.title = 'broken'</script>")).to_be_visible()
    assert page.title() == "Leeroo: batches"
    with page.expect_download() as download:
        card.get_by_role("link", name="Answers").click()
    assert download.value.path().read_text().count("\n") == 400


def test_focus_stays_while_the_page_renews_itself(serve: Serve, page: Page) -> None:
    """The focused link keeps its focus, so the page can be used with the keyboard."""
    server = serve()
    client = server.client()
    first = wait(client, submit(client, jsonl([chat("a", "first")])).id)
    page.goto(server.url)
    page.keyboard.press("Tab")
    link = page.get_by_role("article", name=first.id).get_by_role("link", name="Answers")
    expect(link).to_be_focused()
    second = submit(client, jsonl([chat("a", "second")]))
    expect(page.get_by_role("article", name=second.id)).to_be_visible()
    expect(link).to_be_focused()


def test_a_batch_can_be_cancelled_on_the_page(serve: Serve, api: Any, page: Page) -> None:
    """The button of a batch cancels it, at once or when its answers under way are here."""
    api.delay_s = 0.3
    server = serve()
    client = server.client()
    batch = submit(client, jsonl([chat(str(i), f"question {i}") for i in range(3000)]))
    page.goto(server.url)
    page.get_by_role("button", name=f"Cancel {batch.id}").press("Enter")
    expect(page.get_by_role("article", name=batch.id).get_by_text(re.compile("^cancell(ing|ed)$"))).to_be_visible()


def test_the_page_has_a_form_for_the_key(serve: Serve, browser: Browser, page: Page) -> None:
    """A wrong one is refused; the right one shows its own batches and no others, until one leaves."""
    server = serve()
    ours, theirs = server.key("ours"), server.key("theirs")
    mine = submit(server.client(ours), jsonl([chat("a", "mine")]))
    other = submit(server.client(theirs), jsonl([chat("a", "theirs")]))
    assert httpx.get(server.url).status_code == 401
    fresh = browser.new_page()  # its 401s are no mistakes
    fresh.goto(server.url)
    fresh.get_by_label("Key").fill("lk-wrong")
    fresh.keyboard.press("Enter")
    expect(fresh.get_by_role("alert")).to_have_text("There is no such key in use.")
    fresh.get_by_label("Key").fill(ours)
    fresh.get_by_role("button", name="Show my batches").click()
    expect(fresh.get_by_role("article", name=mine.id)).to_be_visible()
    expect(fresh.get_by_role("article", name=other.id)).to_have_count(0)
    [cookie] = fresh.context.cookies()
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    fresh.get_by_role("button", name="Leave").click()
    expect(fresh.get_by_label("Key")).to_be_visible()
    fresh.close()


def test_the_page_fits_a_phone_and_loads_nothing_from_other_hosts(serve: Serve, page: Page) -> None:
    """Nothing is wider than the screen, and the policy allows only the page's own resources."""
    server = serve()
    client = server.client()
    wait(client, submit(client, jsonl([chat("a", "question")]), metadata={"name": "x" * 500}).id)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.set_viewport_size({"width": 360, "height": 740})
    reply = page.goto(server.url)
    assert reply is not None
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert all(url.startswith(server.url) for url in requested)


def test_older_batches_are_a_link_away(serve: Serve, page: Page) -> None:
    """Twenty are shown at a time."""
    server = serve()
    client = server.client()
    made = [submit(client, jsonl([chat("a", f"question {i}")])).id for i in range(22)]
    page.goto(server.url)
    expect(page.get_by_role("article")).to_have_count(20)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("article", name=made[0])).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(2)
    page.get_by_role("link", name="Newest").click()
    expect(page.get_by_role("article")).to_have_count(20)
