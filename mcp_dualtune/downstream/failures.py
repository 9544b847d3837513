"""What went wrong with a server, as one of our errors that says what to do.

Owns telling failures apart, by code, exception and last words. Refuses to own what is done about them.
"""

from __future__ import annotations

import httpx2
from mcp.shared.exceptions import MCPError

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream.transports import Link
from mcp_dualtune.errors import DownstreamError, ProtocolError, ServerTimeout, ServerUnavailable

CLOSED, TIMED_OUT, WRONG_VERSION, INVALID_REQUEST = -32000, -32001, -32022, -32600


def timed_out(error: Exception) -> bool:
    """Whether a request had no answer in time."""
    return isinstance(error, TimeoutError) or (isinstance(error, MCPError) and error.code == TIMED_OUT)


def lost(error: Exception, config: ServerConfig, closed: bool) -> bool:
    """Whether a failed request means that the connection is gone, or that the server has forgotten it."""
    if not isinstance(error, MCPError):
        return True
    remote = config.transport != "stdio"
    forgotten = remote and error.code == INVALID_REQUEST and "session" in str(error).lower()
    # A stdio server may use this code itself; the SDK also does when it can no longer write to the server.
    return forgotten or (error.code == CLOSED and (remote or closed or error.message == "Connection closed"))


def no_answer(config: ServerConfig, what: str, limit: float) -> ServerTimeout:
    """A request had no answer in time."""
    hint = 'Raise "call_timeout" of this server if the tool needs longer.'
    return ServerTimeout(f'"{config.name}" did not answer "{what}" within {limit:g} s.', hint=hint)


def lost_during(config: ServerConfig, what: str, about: str) -> ServerUnavailable:
    """The connection ended while a request ran."""
    hint = "The call may or may not have been carried out; check before repeating it."
    return ServerUnavailable(f'"{config.name}" was lost during "{what}". {about}'.strip(), hint=hint)


def refused(config: ServerConfig, what: str, error: MCPError) -> ProtocolError:
    """The server answered a request with a JSON-RPC error, which stays whole."""
    hint = f'This is the answer of "{config.name}" itself.'
    message = f'"{config.name}" refused "{what}": {error.message}'
    return ProtocolError(message, code=error.code, data=error.data, hint=hint, said=error.message)


def not_ready(config: ServerConfig, link: Link) -> ServerTimeout:
    """The server took too long to start."""
    message = f'"{config.name}" was not ready within {config.options.start_timeout:g} s. {link.account()}'
    return ServerTimeout(message.strip(), hint='Raise "start_timeout" of this server if it is only slow.')


def explain(error: BaseException, config: ServerConfig, link: Link) -> DownstreamError:
    """Turn what ended a connection into one of our errors, with what the server said last."""
    while isinstance(error, BaseExceptionGroup):
        ours = [inner for inner in error.exceptions if isinstance(inner, DownstreamError)]
        error = ours[0] if ours else error.exceptions[0]
    name, account = config.name, link.account()
    if isinstance(error, DownstreamError):
        error.message = f"{error.message} {account}".strip()
        error.hint = link.hint or error.hint
        return error
    hint = link.hint or 'See "dualtune doctor".'
    if isinstance(error, httpx2.HTTPStatusError):
        status = error.response.status_code
        if status in (401, 403):
            hint = 'Check the token in "headers" of this server.'
        return ServerUnavailable(f'"{name}" answered HTTP {status}.', hint=hint)
    if isinstance(error, httpx2.SSEError):
        hint = "Reach this server over Streamable HTTP, which knows no such limit."
        return ServerUnavailable(f'"{name}" sent what SSE cannot carry: {error}', hint=hint)
    if isinstance(error, httpx2.TransportError):
        hint = f"Is it running at {config.url}?"
        return ServerUnavailable(f'"{name}" cannot be reached: {error or type(error).__name__}.', hint=hint)
    if isinstance(error, MCPError) and error.code == CLOSED:
        about = account or str(error)
        return ServerUnavailable(f'"{name}" did not get ready. {about}'.strip(), hint=hint)
    if isinstance(error, MCPError) and account and config.transport == "http":
        return ServerUnavailable(f'"{name}" refuses the connection. {account}', hint=hint)
    if isinstance(error, MCPError):
        about = f'"{name}" refuses the connection: {error.message} (code {error.code}). {account}'.strip()
        return ProtocolError(about, code=error.code, data=error.data, hint=hint)
    about = f'"{name}" does not speak MCP as expected: {str(error)[:300]} {account}'.strip()
    return ProtocolError(about, hint=hint)
