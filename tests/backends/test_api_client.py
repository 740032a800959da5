"""Headers, proxies and certificates of a pool entry reach the server, and their secrets nobody else."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leeroo.engine.backends.select import facts, open_backend, unavailable
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert, Pool, load_pool
from tests.command import leeroo
from tests.provider import Provider, Reply, running
from tests.proxy import Proxy, proxying

if TYPE_CHECKING:
    from tests.backends.conftest import Ask, Requests

SECRET = "azure-secret-0123456789"
HEADERS = {"api-key": "env:AZURE_KEY", "X-Title": "our table"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", f"{SECRET}\n")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a private authority: ca.pem, and a server's key and certificate signed by it."""
    folder = tmp_path_factory.mktemp("ca")
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    authority = ["-subj", "/CN=our own", "-keyout", "ca.key", "-out", "ca.pem"]
    server = ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-CA", "ca.pem", "-CAkey", "ca.key"]
    server += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "server.key", "-out", "server.pem"]
    for command in ([*new, *authority], [*new, *server]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def secure(authority: Path) -> Iterator[Provider]:
    """Run a provider with a certificate of the private authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    with running(tls=context) as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Run an HTTP proxy."""
    with proxying() as server:
        yield server


def test_headers_are_sent_and_no_bearer_key_beside_them(api: Provider, ask: Ask) -> None:
    """A value is text, or that of an environment variable, without the line break of a key file."""
    options = {"headers": HEADERS, "organization": "org-1", "project": "env:AZURE_KEY"}
    (row,) = ask("hi", options=options)
    assert row["answer"] == "echo: hi"
    sent = api.calls[0].headers
    assert (sent["api-key"], sent["x-title"]) == (SECRET, "our table")
    assert (sent["openai-organization"], sent["openai-project"]) == ("org-1", SECRET)
    assert "authorization" not in sent


def test_a_header_replaces_the_clients_own(api: Provider, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its case, it is sent once; variables of OpenAI's client are for OpenAI alone."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    ask("hi", options={"headers": {"authorization": "env:AZURE_KEY", "user-agent": "tables"}})
    assert (api.calls[0].headers["authorization"], api.calls[0].headers["user-agent"]) == (SECRET, "tables")
    assert "openai-organization" not in api.calls[0].headers


def test_a_header_that_the_server_shows_is_cut_out(api: Provider, ask: Ask) -> None:
    """Its secret is in no error; words of harmless headers stay."""
    api.replies = lambda call: Reply({"error": {"message": f"{call.headers['api-key']} is bad in our table"}}, 400)
    (row,) = ask("hi", options={"headers": HEADERS})
    assert "[redacted] is bad in our table" in row["error"]


def test_a_variable_that_is_not_set_is_named(expert: Callable[..., Expert], monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of experts says which header needs it, and where rows go."""
    one = expert(headers=HEADERS)
    sent_to = facts(one, Pool(default="api", experts=(one,)))["sent_to"]
    assert sent_to == f"{one.base_url} with the header api-key from AZURE_KEY"
    monkeypatch.delenv("AZURE_KEY")
    why = "the environment variable AZURE_KEY with the header api-key is not set"
    assert unavailable(one) == why
    with pytest.raises(ExpertUnavailable, match=why):
        open_backend(one)


def test_a_header_follows_no_redirection(api: Provider, ask: Ask) -> None:
    """It would reach a server that the pool file does not name."""
    with running() as other:
        api.replies = lambda _: Reply({}, 307, {"Location": f"{other.url}/chat/completions"})
        with pytest.raises(ExpertUnavailable, match="307"):
            ask(*"abcdefgh", options={"headers": HEADERS})
        assert other.calls == []


def test_a_private_authority_is_trusted_when_it_is_named(
    secure: Provider, authority: Path, expert: Callable[..., Expert], requests: Requests
) -> None:
    """Without it the connection fails, in words; the file is found beside the pool file."""
    folder = authority
    entry = secure.entry("far", 1, 9, '[expert.engine]\nca_file = "ca.pem"\nmax_retries = 0')
    (folder / "pool.toml").write_text(entry)
    assert _ask(load_pool(folder / "pool.toml")["far"], requests)["answer"] == "echo: hi"
    row = _ask(expert(secure.url, max_retries=0), requests)
    assert "certificate verify failed" in row["error"]


def test_certificates_of_the_environment_are_trusted(
    secure: Provider,
    authority: Path,
    expert: Callable[..., Expert],
    requests: Requests,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SSL_CERT_FILE names them, as everywhere."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    assert _ask(expert(secure.url), requests)["answer"] == "echo: hi"


def test_requests_go_through_the_proxy(
    api: Provider, proxy: Proxy, expert: Callable[..., Expert], requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address may stand in a variable, with a password that is sent to it alone."""
    monkeypatch.setenv("OUR_PROXY", proxy.url.replace("://", "://me:hunter22@"))
    assert _ask(expert(proxy="env:OUR_PROXY"), requests)["answer"] == "echo: hi"
    assert [target for target, _ in proxy.seen] == [f"{api.url}/chat/completions"]
    assert proxy.seen[0][1]["proxy-authorization"] == "Basic bWU6aHVudGVyMjI="
    assert "proxy-authorization" not in api.calls[0].headers


def test_a_tunnel_through_the_proxy_is_checked_against_the_authority(
    secure: Provider, authority: Path, proxy: Proxy, expert: Callable[..., Expert], requests: Requests
) -> None:
    """Proxy and certificates work together, and the proxy sees only the server's name."""
    one = expert(secure.url, proxy=proxy.url, ca_file=str(authority / "ca.pem"))
    assert _ask(one, requests)["answer"] == "echo: hi"
    assert [target for target, _ in proxy.seen] == [f"127.0.0.1:{secure.server_address[1]}"]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_used(
    proxy: Proxy, expert: Callable[..., Expert], requests: Requests, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """By default requests go where the environment sends them, but those to the hosts in NO_PROXY."""
    monkeypatch.setenv(variable, proxy.url)
    assert _ask(expert(), requests)["answer"] == "echo: hi"
    assert len(proxy.seen) == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert _ask(expert(), requests)["answer"] == "echo: hi"
    assert len(proxy.seen) == 1


def test_a_proxy_that_refuses_shows_no_password(
    proxy: Proxy, expert: Callable[..., Expert], requests: Requests
) -> None:
    """The error says what happened, without user and password."""
    proxy.refuses = True
    row = _ask(expert(proxy=proxy.url.replace("://", "://me:hunter22@"), max_retries=0), requests)
    assert "407" in row["error"]
    assert "hunter22" not in row["error"]


def test_headers_reach_a_provider_of_any_llm(api: Provider, ask: Ask) -> None:
    """They are given to its package, which tries nothing twice on its own."""
    api.faults = {"hi": [503]}
    (row,) = ask("hi", options={"provider": "openai", "headers": HEADERS, "max_retries": 0})
    assert "503" in row["error"]
    assert [call.headers["api-key"] for call in api.calls] == [SECRET]


def test_no_secret_is_kept_or_printed(api: Provider, tmp_path: Path) -> None:
    """The answer store, the answers and what a run prints are free of it, though the server shows it."""
    header = f"[expert.engine]\nmax_retries = 0\nheaders = {{ api-key = '{SECRET}', x-signature = 'env:AZURE_KEY' }}"
    (tmp_path / "pool.toml").write_text(api.entry("far", 1, 9, header))
    (tmp_path / "in.csv").write_text("question\nhi\nodd\n")
    api.faults = {"odd": [400]}
    api.replies = lambda call: Reply({"error": {"message": f"{call.headers['api-key']} is bad"}}, 400)
    done = leeroo("run", "in.csv", "--pool", "pool.toml", "--store", "store", "--out", "out.csv", cwd=tmp_path)
    assert "[redacted] is bad" in (tmp_path / "out.csv").read_text()
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "pool.toml"]
    assert len(kept) > 2
    assert [file for file in kept if SECRET.encode() in file.read_bytes()] == []
    assert SECRET not in done.stdout + done.stderr


def _ask(expert: Expert, requests: Requests) -> dict[str, Any]:
    """Send one prompt on a connection of its own, and return the row."""
    backend = open_backend(expert)
    try:
        rows: list[dict[str, Any]] = []
        for batch in backend.generate(iter([requests("hi")])):
            rows += batch.to_pylist()
    finally:
        backend.close()
    return rows[0]
