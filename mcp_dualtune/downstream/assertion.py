"""The proof of a client that has a private key in the place of a secret: a short-lived statement that it signs itself.

Owns reading the key and signing (RFC 7523, as the MCP extension for client credentials wants it). Refuses to own: what
names the key (`config`) and when a proof is due (`oauth`, `login`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.errors import ServerUnavailable

LIFETIME = 300
"""Seconds that a proof is good for: both clocks may be minutes apart."""
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}

Key = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


def signer(config: ServerConfig) -> Callable[[str], str]:
    """What signs a proof for the authorization server with a given issuer identifier, with the key of the config.

    The audience is always that identifier, as the specification demands: a proof is of no use anywhere else.

    Raises:
        ServerUnavailable: the key cannot be used.
    """
    oauth = config.options.oauth
    assert oauth is not None and oauth.client_id is not None and oauth.private_key is not None
    client, headers = oauth.client_id, None if oauth.key_id is None else {"kid": oauth.key_id}
    key, fitting = _read(config.name, oauth.private_key)
    algorithm = oauth.signing_algorithm or fitting[0]
    if algorithm not in fitting:
        hint = f"This key signs {', '.join(fitting)}; without a signing_algorithm, {fitting[0]}."
        raise _unusable(config.name, f"does not fit signing_algorithm {algorithm}", hint)

    def sign(issuer: str) -> str:
        now = int(time.time())
        claims = {"iss": client, "sub": client, "aud": issuer, "iat": now, "exp": now + LIFETIME, "jti": str(uuid4())}
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)

    return sign


def _read(name: str, text: str) -> tuple[Key, tuple[str, ...]]:
    """The key and the algorithms that it can sign with, the usual one first."""
    how = "Give a private key in the PEM format, without a passphrase."
    try:
        # In an environment variable, line ends are often written out.
        key = load_pem_private_key(text.replace("\\n", "\n").encode(), password=None)
    except TypeError:
        # Errors are raised outside of the handlers' context: what the library says could quote the key.
        key, problem = None, "is locked with a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        key, problem = None, "cannot be read"
    else:
        problem = "is of a kind that cannot sign here"
    if isinstance(key, RSAPrivateKey):
        return key, _RSA
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key, _CURVES[key.curve.name]
    if isinstance(key, Ed25519PrivateKey):
        return key, ("EdDSA",)
    raise _unusable(
        name, problem, how if key is None else "RSA, the curves P-256, P-384 and P-521, and Ed25519 will do."
    )


def _unusable(name: str, problem: str, hint: str) -> ServerUnavailable:
    return ServerUnavailable(f'The private_key for the login at "{name}" {problem}.', hint=hint, retryable=False)
