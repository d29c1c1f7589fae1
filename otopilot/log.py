"""Logs: one JSON object a line on stderr, with anything that looks like a secret taken out.

The redaction is a second net: secrets live in `settings.Secret` and in order_service's
credentials, which never print themselves.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_SECRET_KEYS = (
    "secret",
    "cookie",
    "token",
    "signature",
    "apikey",
    "api_key",
    "api-key",
    "private_key",
    "authorization",
    "listenkey",
    "listen_key",
    "password",
)


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every key whose name speaks of a secret, however deep it lies."""
    for key, value in event.items():
        event[key] = _safe(key, value)
    return event


def _safe(key: str, value: object) -> object:
    if any(word in key.lower() for word in _SECRET_KEYS):
        return "[redacted]"
    if isinstance(value, Mapping):
        return {inner: _safe(str(inner), each) for inner, each in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(key, each) for each in value]
    return value


def configure(service: str, level: str) -> None:
    """Set up logging for a whole process."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(name)s: %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def get(name: str) -> Any:
    """A logger; `log.info("what happened", order_id=...)`."""
    return structlog.get_logger(component=name)
