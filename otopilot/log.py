"""Logs: one JSON object a line on stderr, with anything that looks like a secret taken out.

The redaction is a second net: secrets live in `settings.Secret` and in order_service's
credentials, which never print themselves.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_KEYS = ("secret", "cookie", "token", "signature", "apikey", "api_key", "private_key", "authorization")


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every key whose name speaks of a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_KEYS):
            event[key] = "[redacted]"
    return event


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
