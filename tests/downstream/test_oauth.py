"""Logins at remote servers, against a real authorization server and a real MCP server over HTTP."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import keyring
import pytest

from examples.servers.notes import make_server
from mcp_dualtune.config import OAuthSettings, ServerConfig
from mcp_dualtune.downstream.connection import Connection
from mcp_dualtune.downstream.login import log_in, log_out, login_state
from mcp_dualtune.downstream.oauth import check_address
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.downstream.tokens import TokenStore
from mcp_dualtune.errors import LoginRequired, ServerTimeout, ServerUnavailable
from tests.config.keyrings import MemoryKeyring
from tests.downstream.oauth_server import world
from tests.downstream.servers import connected
from tests.downstream.test_transports import serving

pytestmark = pytest.mark.anyio


async def browser(address: str) -> None:
    """Follow the login page to the end, as a browser in which somebody is logged in already."""
    async with httpx2.AsyncClient(follow_redirects=True, timeout=30) as client:
        page = await client.get(address)
    assert page.status_code == 200 and "close this page" in page.text


async def nobody(address: str) -> None:
    """Look away."""


async def refused(config: ServerConfig) -> ServerUnavailable:
    with anyio.fail_after(60), pytest.raises(ServerUnavailable) as caught:
        await Connection(config).run()
    return caught.value


async def greeting(config: ServerConfig) -> str:
    async with connected(config) as server:
        return (await server.call("greet", {"name": "ana"})).text


async def run_out(config: ServerConfig) -> None:
    """Make the access token that is kept look too old."""
    store = TokenStore(config)
    await store.write((await store.read()).model_copy(update={"expires_at": 1.0}))


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_waits_for_a_login_and_answers_after_it(tmp_path: Path, kind: str) -> None:
    async with world(tmp_path, kind) as made:
        config = made.config()
        error = await refused(config)
        assert isinstance(error, LoginRequired) and not error.retryable
        assert error.hint == "Run `dualtune auth login notes`."
        assert made.authority.registered == 0, "nothing is asked of the authorization server while serving"
        state = await log_in(config, browser)
        assert (state.standing, state.scope, state.issuer) == ("renews itself", "notes", f"{made.issuer}/")
        assert await greeting(config) == "hello ana"


async def test_what_is_kept_is_for_its_owner_and_its_address_only(tmp_path: Path) -> None:
    async with world(tmp_path / "state") as made:
        config = made.config(name="../odd name")
        await log_in(config, browser)
        path = TokenStore(config).path
        assert path is not None and path.parent == tmp_path / "state" / "logins"
        if os.name == "posix":
            assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        elsewhere = made.config(name="../odd name", url=made.url.replace("127.0.0.1", "localhost"))
        assert (await login_state(elsewhere)).standing == "not logged in"


async def test_a_token_that_ran_out_is_renewed_at_the_authorization_server(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        await run_out(config)
        assert await greeting(config) == "hello ana"
        assert made.authority.refreshed == 1
        # The new one is kept: the next connection needs no renewal.
        assert await greeting(config) == "hello ana"
        assert made.authority.refreshed == 1


async def test_a_token_that_the_server_turns_down_is_renewed_within_the_call(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        async with connected(config) as server:
            made.authority.access.clear()
            assert (await server.call("greet", {"name": "ana"})).text == "hello ana"
        assert made.authority.refreshed == 1


async def test_gateways_that_share_a_login_renew_it_once(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        await run_out(config)
        answers: list[str] = []

        async def use() -> None:
            answers.append(await greeting(config))

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(use)
        assert answers == ["hello ana"] * 4
        assert made.authority.refreshed == 1


async def test_calls_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        async with connected(config) as server, anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(server.call, "greet", {"name": "ana"})


async def test_a_login_that_cannot_be_renewed_is_needed_again(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        async with Pool([config]) as pool:
            await pool.wait(60)
            assert pool.states()[0].status == "ready"
            made.authority.forget()
            with pytest.raises(LoginRequired, match="run out"):
                await pool.call("notes", "greet", {"name": "ana"})
            assert (await login_state(config)).standing == "not logged in"
            await log_in(config, browser)
            with anyio.fail_after(60):
                while True:
                    try:
                        assert (await pool.call("notes", "greet", {"name": "bo"})).text == "hello bo"
                        break
                    except ServerUnavailable:
                        await anyio.sleep(0.1)


async def test_an_outage_of_the_authorization_server_loses_no_login(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        await run_out(config)
        made.outage["/token"] = 503
        error = await refused(config)
        assert not isinstance(error, LoginRequired) and error.retryable and "503" in error.message
        made.outage.clear()
        assert await greeting(config) == "hello ana"


async def test_logging_out_forgets_the_login_here_and_there(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        assert await log_out(config)
        assert made.authority.access == {} and not await log_out(config)
        assert (await login_state(config)).standing == "not logged in"
        assert isinstance(await refused(config), LoginRequired)


async def test_only_the_answer_to_this_login_from_this_address_counts(tmp_path: Path) -> None:
    said: list[int] = []

    async def meddle(address: str) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        back = asked["redirect_uri"]
        right = {"code": "stolen", "state": asked["state"]}
        async with httpx2.AsyncClient(timeout=30) as client:
            for query, headers in (
                ({"code": "stolen", "state": "guessed"}, {}),
                ({"code": "stolen"}, {}),
                ({"error": "access_denied"}, {}),
                ({"state": asked["state"]}, {}),
                (right, {"Host": "evil.example"}),
                (right, {"Host": f"localhost:{urlsplit(back).port}"}),
            ):
                said.append((await client.get(back, params=query, headers=headers)).status_code)
            said.append((await client.post(back, params=right)).status_code)
        await browser(address)

    async with world(tmp_path) as made:
        assert (await log_in(made.config(), meddle)).standing == "renews itself"
    assert said == [400, 400, 400, 400, 421, 421, 405]


async def test_a_code_of_somebody_else_is_refused(tmp_path: Path) -> None:
    async def inject(address: str) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        async with httpx2.AsyncClient(timeout=30) as client:
            await client.get(asked["redirect_uri"], params={"code": "not issued", "state": asked["state"]})

    async with world(tmp_path) as made:
        with pytest.raises(ServerUnavailable, match="invalid_grant"):
            await log_in(made.config(), inject)
        assert (await login_state(made.config())).standing == "not logged in"


async def test_a_person_who_refuses_is_believed(tmp_path: Path) -> None:
    async def refuse(address: str) -> None:
        async with httpx2.AsyncClient(follow_redirects=True, timeout=30) as client:
            assert "access_denied not today" in (await client.get(address)).text

    async with world(tmp_path) as made:
        made.authority.refuses = True
        with pytest.raises(ServerUnavailable, match="refused: access_denied not today"):
            await log_in(made.config(), refuse)


async def test_the_wait_for_a_person_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        with pytest.raises(ServerTimeout, match=r"not finished within 0\.5 s"):
            await log_in(made.config(), nobody, timeout=0.5)


async def test_a_registration_is_used_again_and_made_anew_for_another_port(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await log_in(made.config(), browser)
        await log_in(made.config(), browser)
        assert made.authority.registered == 1
        port = urlsplit(str(made.authority.asked[0].redirect_uri)).port
        # The one beside it may be in use: any program on this machine may have got it.
        with socket.create_server(("127.0.0.1", 0)) as free:
            another = free.getsockname()[1]
        assert another != port
        await log_in(made.config(OAuthSettings(redirect_port=another)), browser)
        assert made.authority.registered == 2


async def test_a_client_of_the_config_is_used_and_its_secret_is_not_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.know("me", "very secret thing")
        config = made.config(OAuthSettings(client_id="me", client_secret="very secret thing"))
        await log_in(config, browser)
        path = TokenStore(config).path
        assert path is not None and "very secret thing" not in path.read_text(encoding="utf-8")
        await run_out(config)
        assert await greeting(config) == "hello ana"
        assert (made.authority.registered, made.authority.refreshed) == (0, 1)


async def test_a_client_metadata_document_replaces_the_registration_where_it_is_taken(tmp_path: Path) -> None:
    document = "https://client.example/dualtune.json"
    async with world(tmp_path) as made:
        made.know(document, "")
        made.authority.clients[document].token_endpoint_auth_method = "none"
        config = made.config(OAuthSettings(client_metadata_url=document))
        made.metadata["client_id_metadata_document_supported"] = True
        await log_in(config, browser)
        assert made.authority.registered == 0
        await log_out(config)
        made.metadata.clear()
        await log_in(config, browser)
        assert made.authority.registered == 1


async def test_a_machine_logs_in_by_itself_and_again_when_its_token_ran_out(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.know("robot", "robots-secret")
        made.metadata["token_endpoint"] = f"{made.issuer}/machine"
        settings = OAuthSettings("client_credentials", "robot", "robots-secret", issuer=made.issuer)
        config = made.config(settings)
        assert await greeting(config) == "hello ana"
        await run_out(config)
        assert await greeting(config) == "hello ana"
        wrong = OAuthSettings("client_credentials", "robot", "another", issuer=made.issuer)
        await log_out(config)
        error = await refused(made.config(wrong))
        assert "invalid_client" in error.message and "oauth" in error.hint


async def test_a_secret_is_sent_to_no_other_authorization_server(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.know("robot", "robots-secret")
        made.metadata["token_endpoint"] = f"{made.issuer}/machine"
        settings = OAuthSettings("client_credentials", "robot", "robots-secret", issuer="https://other.example")
        error = await refused(made.config(settings))
        assert "issuer mismatch" in error.message and made.authority.access == {}


async def test_more_rights_are_asked_for_in_the_hint(tmp_path: Path) -> None:
    async with world(tmp_path, scopes=("notes", "admin")) as made:
        config = made.config(OAuthSettings(scope="notes"))
        with pytest.raises(ServerUnavailable, match="HTTP 403"):
            await log_in(config, browser)
        error = await refused(config)
        assert isinstance(error, LoginRequired) and "more rights" in error.message
        await log_in(config, browser, scope="notes admin")
        assert await greeting(config) == "hello ana"


async def test_a_call_beyond_our_rights_leaves_the_connection_as_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.config()
        await log_in(config, browser)
        async with connected(config) as server:
            made.wanted = "write"
            with pytest.raises(LoginRequired, match="more rights") as caught:
                await server.call("greet", {"name": "ana"})
            assert caught.value.hint == "Run `dualtune auth login notes --scope 'notes write'`."
            made.wanted = None
            assert (await server.call("greet", {"name": "ana"})).text == "hello ana"


async def test_a_token_in_the_headers_speaks_for_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        token = made.authority.issue("me", ["notes"], made.url).access_token
        config = made.config(headers={"Authorization": f"Bearer {token}"})
        assert await greeting(config) == "hello ana"
        made.authority.forget()
        assert "headers" in (await refused(config)).hint


async def test_a_server_that_asks_for_no_login_gets_none(tmp_path: Path) -> None:
    async with serving(make_server(tmp_path).streamable_http_app()) as port:
        config = ServerConfig("open", "http", url=f"http://127.0.0.1:{port}/mcp", state=tmp_path)
        assert (await log_in(config, nobody)).standing == "not logged in"


async def test_a_login_can_be_kept_in_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryKeyring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", memory)
    async with world(tmp_path) as made:
        config = made.config(OAuthSettings(store="keyring"))
        assert (await log_in(config, browser)).place == "the keyring"
        assert list(memory.entries) == [("mcp-dualtune", "login/notes")]
        assert await greeting(config) == "hello ana"
        path = TokenStore(config).path
        assert path is not None and not path.exists()
        assert await log_out(config) and memory.entries == {}


@pytest.mark.parametrize(
    ("server", "named", "fine"),
    [
        ("https://mcp.example/mcp", "https://login.example/token", True),
        ("https://mcp.example/mcp", "http://login.example/token", False),
        ("https://mcp.example/mcp", "http://127.0.0.1:8080/token", True),
        ("https://mcp.example/mcp", "http://127.0.0.1.evil.example/token", False),
        ("http://127.0.0.1:8080/mcp", "http://127.0.0.1:9090/token", True),
    ],
)
def test_a_login_never_falls_back_from_https(server: str, named: str, fine: bool) -> None:
    config = ServerConfig("x", "http", url=server)
    if fine:
        check_address(config, httpx2.URL(named))
    else:
        with pytest.raises(ServerUnavailable, match="not https"):
            check_address(config, httpx2.URL(named))
