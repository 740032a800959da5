// Every two seconds what changes on the page is fetched anew; focus stays where it was.
"use strict";
const place = document.getElementById("batches");

async function renew() {
  if (document.hidden) return;
  const reply = await fetch(location.href, { headers: { "x-part": "1" } });
  if (reply.status === 401) return location.reload();
  if (!reply.ok) return;
  const text = await reply.text();
  const fresh = new DOMParser().parseFromString(text, "text/html").body;
  const focused = document.activeElement?.id;
  for (const article of fresh.querySelectorAll("article")) {
    const id = article.getAttribute("aria-labelledby");
    const old = place.querySelector(`article[aria-labelledby="${id}"]`);
    if (old && old.outerHTML === article.outerHTML) article.replaceWith(old);
  }
  place.replaceChildren(...fresh.childNodes);
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
}

setInterval(() => renew().catch(() => {}), 2000);
