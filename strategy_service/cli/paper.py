"""The paper exchange's control API, as `run` and `users add --paper` use it. Paper mode only."""

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from strategy_service.cli.errors import CliError, Exit

SECONDS = 5.0
MAX_ANSWER = 64 * 1024 * 1024


class Control:
    """Blocking calls, each on a connection of its own. Errors are CliError."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise CliError(Exit.CONFIG, f"paper.url: {url} is not such as http://127.0.0.1:8900")
        self.host = parts.hostname
        self.port = parts.port

    def world(self) -> dict[str, Any]:
        """The world's id and its clock."""
        return self._ask("GET", "world")

    def account(self, user_id: str, venue: str) -> dict[str, Any]:
        """The credential of the user's account, which is made if it is new."""
        body = {"user_id": user_id, "venue": venue, "managed": True}
        credential: dict[str, Any] = self._ask("POST", "accounts", body)["credential"]
        return credential

    def freeze(self) -> None:
        """Matching and prices stand still; queries and cancels go on."""
        self._ask("POST", "freeze", {})

    def unfreeze(self) -> None:
        """They go on."""
        self._ask("POST", "unfreeze", {})

    def report(self) -> dict[str, Any]:
        """What each account traded, by the exchange's own books."""
        return self._ask("GET", "report")

    def trades(self, user_id: str, venue: str) -> list[dict[str, Any]]:
        """Every trade of the account."""
        found: list[dict[str, Any]] = self._ask("GET", f"trades?{_account(user_id, venue)}")["trades"]
        return found

    def orders(self, user_id: str, venue: str) -> list[dict[str, Any]]:
        """Every order of the account."""
        found: list[dict[str, Any]] = self._ask("GET", f"orders?{_account(user_id, venue)}")["orders"]
        return found

    def _ask(self, method: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, f"/control/{what}", payload, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read(MAX_ANSWER))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CliError(
                Exit.UNREACHABLE,
                f"the paper exchange is not up at {self.host}:{self.port} ({error})",
                "start everything with `otopilot run`, or only the exchange with "
                "`python -m paper_exchange --data-dir var/paper/exchange`",
            ) from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise CliError(Exit.FAILED, f"the paper exchange refused {what}: {answer.get('error', answer)}")
        found: dict[str, Any] = answer
        return found


def _account(user_id: str, venue: str) -> str:
    return urlencode({"user_id": user_id, "venue": venue})
