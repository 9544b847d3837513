"""Every exception of the package.

DualTuneError
├── ConfigError          the config file or an option is wrong
├── RequestError         the request itself cannot be used (empty, too long)
├── CatalogError         a tool or schema cannot be used, a name is unknown
├── DownstreamError      a downstream server did not do its part
│   ├── ServerUnavailable    not started, crashed, or given up on
│   │   └── LoginRequired    a remote server that wants its user to log in
│   ├── ServerTimeout        no answer within the limit
│   └── ProtocolError        an answer that is not valid MCP; `code`, `said` and `data` keep a JSON-RPC error whole
│       └── InputRequired        the server asks for input first, and the caller takes that as an answer
├── EngineError          the model cannot do what was asked
│   ├── ModelLoadError       no usable model in the folder
│   ├── PromptTooLong        the prompt exceeds the model's context
│   └── GrammarError         the schema cannot become a grammar, or decoding left it
├── AdapterError         an adapter does not belong here (base, schema, format)
├── PolicyError          a call that the rules do not allow
├── TrainingError        data or settings that cannot be trained on
└── Cancelled            the caller went away
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DualTuneError(Exception):
    """Base of all errors: one sentence for the user, and a hint that says what to do."""

    retryable = False

    def __init__(self, message: str, *, hint: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(DualTuneError):
    """The config file or an option is wrong."""


class RequestError(DualTuneError):
    """The request itself cannot be used."""


class CatalogError(DualTuneError):
    """A tool or schema cannot be used, or a name is unknown."""


class DownstreamError(DualTuneError):
    """A downstream server did not do its part."""


class ServerUnavailable(DownstreamError):
    """The server is not started, crashed, or was given up on."""

    retryable = True


class LoginRequired(ServerUnavailable):
    """A remote server wants its user to log in, which nothing but a person at a browser can do."""

    retryable = False


class ServerTimeout(DownstreamError):
    """The server gave no answer within the limit."""

    retryable = True


class ProtocolError(DownstreamError):
    """The server answered with a JSON-RPC error or with something that is not valid MCP."""

    def __init__(
        self, message: str, *, code: int | None = None, data: Any = None, hint: str = "", said: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.data = data
        self.said = message if said is None else said
        """The other side's own words."""


class InputRequired(ProtocolError):
    """The server asks for input before it answers; `result` is what it sent, for a client that can take it."""

    def __init__(self, message: str, result: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.result = result

    @property
    def questions(self) -> tuple[Mapping[str, Any], ...]:
        """What is asked, in wire spelling."""
        asked = self.result.get("inputRequests")
        return tuple(one for one in asked.values() if isinstance(one, Mapping)) if isinstance(asked, Mapping) else ()


class EngineError(DualTuneError):
    """The model cannot do what was asked."""


class ModelLoadError(EngineError):
    """There is no usable model in the folder."""


class PromptTooLong(EngineError):
    """The prompt does not fit the model's context."""


class GrammarError(EngineError):
    """A schema cannot become a grammar, or decoding left the grammar."""


class AdapterError(DualTuneError):
    """An adapter does not belong to this base model or tool, or its files are not usable."""


class PolicyError(DualTuneError):
    """A call that the rules do not allow."""


class TrainingError(DualTuneError):
    """Data or settings that cannot be trained on."""


class Cancelled(DualTuneError):
    """The caller went away before the answer was ready."""


def leaf_error(error: BaseException) -> BaseException:
    """The error inside nested groups of one: task groups wrap what went wrong in them."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
