"""Machines that sign their login with a private key, against a real authorization server that checks the signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mcp_dualtune.config import OAuthSettings, ServerConfig, ServerOptions, read_config
from mcp_dualtune.downstream.assertion import signer
from mcp_dualtune.downstream.login import log_in, log_out, login_state
from mcp_dualtune.downstream.tokens import TokenStore
from mcp_dualtune.errors import ServerUnavailable
from tests.downstream.oauth_server import World, world
from tests.downstream.test_oauth import greeting, nobody, refused, run_out

pytestmark = pytest.mark.anyio


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes | None = None) -> str:
    """A private key as its file holds it."""
    lock = NoEncryption() if password is None else BestAvailableEncryption(password)
    return str(key.private_bytes(Encoding.PEM, form, lock).decode())


def public(key: Any) -> str:
    """What the authorization server knows of a key."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


CURVE = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65_537, 2048)


def signing(made: World, key: str, **oauth: str) -> ServerConfig:
    """The entry for the MCP server as it is read from a config file, with `key` in the environment."""
    made.metadata |= {"token_endpoint": f"{made.issuer}/machine", "revocation_endpoint": f"{made.issuer}/forget"}
    login = {"grant": "client_credentials", "client_id": "robot", "issuer": made.issuer, "private_key": "${env:KEY}"}
    file = {
        "mcpServers": {"notes": {"type": "http", "url": made.url}},
        "dualtune": {"state": str(made.state), "servers": {"notes": {"oauth": login | oauth}}},
    }
    config = read_config(json.dumps(file), made.state / "config.json", {"KEY": key}).servers[0]
    return made.config(config.options.oauth, secrets=config.secrets, references=config.references)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (CURVE, "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (RSA, "RS256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
    ids=["P-256", "P-384", "RSA", "Ed25519"],
)
async def test_a_machine_signs_with_the_usual_algorithm_of_its_key(tmp_path: Path, key: Any, algorithm: str) -> None:
    async with world(tmp_path) as made:
        made.key = public(key)
        assert await greeting(signing(made, pem(key))) == "hello ana"
        assert [proof["alg"] for proof in made.proofs] == [algorithm]
        assert "kid" not in made.proofs[0]


async def test_algorithm_key_id_and_scope_are_those_of_the_config(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.key = public(RSA)
        # An older file format, and line ends as they get into a variable.
        key = pem(RSA, PrivateFormat.TraditionalOpenSSL).replace("\n", "\\n")
        config = signing(made, key, signing_algorithm="PS256", key_id="second", scope="notes more")
        assert await greeting(config) == "hello ana"
        assert [(proof["alg"], proof["kid"]) for proof in made.proofs] == [("PS256", "second")]
        assert (await login_state(config)).scope == "notes more"


async def test_every_login_of_a_machine_has_a_proof_of_its_own(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.key = public(CURVE)
        config = signing(made, pem(CURVE))
        assert await greeting(config) == "hello ana"
        await run_out(config)
        assert await greeting(config) == "hello ana"
        # Also without a server that asks: no browser is shown anything.
        assert (await log_in(config, nobody)).standing == "logged in"
        assert len({proof["jti"] for proof in made.proofs}) == 3


async def test_logging_out_is_signed_too_and_the_key_is_kept_nowhere(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.key = public(CURVE)
        config = signing(made, pem(CURVE))
        assert await greeting(config) == "hello ana"
        path = TokenStore(config).path
        assert path is not None
        kept = path.read_text(encoding="utf-8")
        assert all(line not in kept for line in pem(CURVE).splitlines())
        assert await log_out(config) and len(made.proofs) == 2
        assert made.authority.access == {}


async def test_a_key_that_is_not_registered_is_turned_down(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.key = public(ec.generate_private_key(ec.SECP256R1()))
        error = await refused(signing(made, pem(CURVE)))
        assert "invalid_client" in error.message and "oauth" in error.hint


async def test_nothing_is_signed_for_another_authorization_server(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.key = public(CURVE)
        error = await refused(signing(made, pem(CURVE), issuer="https://other.example"))
        assert "issuer mismatch" in error.message and made.proofs == []


@pytest.mark.parametrize(
    ("key", "oauth", "said"),
    [
        ("not a key at all", {}, "cannot be read"),
        (public(CURVE), {}, "cannot be read"),
        (pem(CURVE, password=b"open sesame"), {}, "locked with a passphrase"),
        (pem(dsa.generate_private_key(1024)), {}, "of a kind that cannot sign here"),
        (pem(ec.generate_private_key(ec.SECP256K1())), {}, "of a kind that cannot sign here"),
        (pem(CURVE), {"signing_algorithm": "RS256"}, "does not fit signing_algorithm RS256"),
        (pem(CURVE), {"signing_algorithm": "ES384"}, "does not fit signing_algorithm ES384"),
    ],
    ids=["no key", "public", "locked", "DSA", "secp256k1", "RSA's algorithm", "another curve's"],
)
def test_a_key_that_cannot_sign_says_why_and_is_not_shown(key: str, oauth: dict[str, Any], said: str) -> None:
    settings = OAuthSettings("client_credentials", "robot", private_key=key, **oauth)
    with pytest.raises(ServerUnavailable) as caught:
        signer(ServerConfig("notes", "http", url="http://h/p", options=ServerOptions(oauth=settings)))
    error = caught.value
    assert said in error.message and error.hint and not error.retryable
    told = f"{error!r} {error} {error.hint} {error.__cause__!r} {error.__context__!r}"
    assert all(line not in told for line in key.splitlines())


async def test_a_key_that_cannot_be_read_makes_its_server_unavailable_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.key = public(CURVE)
        error = await refused(signing(made, "not a key at all"))
        assert "private_key" in error.message and not error.retryable
        assert made.proofs == [] and made.authority.access == {}
