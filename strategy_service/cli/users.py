"""`otopilot users list|add|check|rotate|remove`: who can trade, and their credentials.

A secret comes by standard input or a file and goes to order_service only; it is never an argument,
never printed, never part of an error.
"""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from otopilot import wire
from otopilot.instrument import Venue
from protos import market_pb2
from protos import order_pb2 as pb
from strategy_service.cli import clients, paper
from strategy_service.cli.amounts import enum_word
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, as_dict, print_json, print_rows, say

app = typer.Typer(add_completion=False, help="Users and their credentials.", no_args_is_help=True)

MAX_SECRET_BYTES = 64 * 1024
HOW_TO_GIVE_IT = "see `otopilot users add --help`; on paper: `otopilot users add USER --paper`"
COLUMNS = ("venue", "user", "state", "credential", "stored", "reason")

UserId = Annotated[str, typer.Argument(metavar="USER", help="The id the configuration uses.")]
VenueOption = Annotated[Venue, typer.Option("--venue", help="Where the credential is good for.")]


class Kind(StrEnum):
    """Kinds of credentials."""

    SESSION = "session"
    HMAC = "hmac"
    ED25519 = "ed25519"
    RSA = "rsa"


@app.command("list")
def list_users(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List the users and whether they can trade."""
    services = clients.of(context)
    found = services.admin.ask(services.admin.stub.ListUsers, pb.ListUsersRequest()).users
    _print(found, output, "no user yet: `otopilot users add USER --venue VENUE` stores a credential")


@app.command()
def add(
    context: typer.Context,
    user_id: UserId,
    venue: VenueOption = Venue.ALPHA,
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="Default: session on alpha, hmac on spot.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="File with the secret JSON; none: stdin.")
    ] = None,
    paper_account: Annotated[
        bool, typer.Option("--paper", help="Make an account on the paper exchange and store its key.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Store a credential, encrypted at rest; replaces the one there is.

    The secret is JSON: session {"headers": {...}}; hmac {"api_key", "secret"}; ed25519 and rsa
    {"api_key", "private_key"}.
    """
    services = clients.of(context)
    if paper_account:
        if file or kind:
            raise CliError(Exit.USAGE, "--paper brings its own credential: leave out --file and --kind")
        stored = add_paper_user(services, user_id, venue)
    else:
        chosen = kind or (Kind.SESSION if venue is Venue.ALPHA else Kind.HMAC)
        stored = put(services, user_id, venue, chosen.value, _secret(file))
    if output is Format.TABLE:
        _print([stored], output)
    else:
        print_json(as_dict(stored), output)


@app.command()
def rotate(
    context: typer.Context,
    user_id: UserId,
    venue: VenueOption = Venue.ALPHA,
    kind: Annotated[Kind | None, typer.Option("--kind", help="Default: as it is stored now.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="File with the new secret JSON; none: stdin.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Put a fresh credential in the place of the stored one, and try it at the venue at once."""
    services = clients.of(context)
    known = _stored(services, user_id, venue)
    put(services, user_id, venue, kind.value if kind else known.credential_kind, _secret(file))
    _check(services, user_id, venue, output)


@app.command()
def check(
    context: typer.Context, user_id: UserId, venue: VenueOption = Venue.ALPHA, output: Output = Format.TABLE
) -> None:
    """Try a stored credential: the venue is asked for the account's balances with it."""
    services = clients.of(context)
    _stored(services, user_id, venue)
    _check(services, user_id, venue, output)


@app.command()
def remove(
    context: typer.Context, user_id: UserId, venue: VenueOption = Venue.ALPHA, output: Output = Format.TABLE
) -> None:
    """Forget a credential; the user's orders stay in the journal."""
    services = clients.of(context)
    request = pb.RemoveUserRequest(user_id=user_id, venue=wire.venue_to_pb(venue))
    services.admin.ask(services.admin.stub.RemoveUser, request)
    if output is Format.TABLE:
        say(f"user {user_id} of {venue}: credential forgotten")
    else:
        print_json({"user_id": user_id, "venue": venue.value, "removed": True}, output)


def _stored(services: Services, user_id: str, venue: Venue) -> pb.User:
    """The user as order_service knows it. Raises CliError."""
    listed = services.admin.ask(services.admin.stub.ListUsers, pb.ListUsersRequest()).users
    for each in listed:
        if (each.user_id, each.venue) == (user_id, wire.venue_to_pb(venue)):
            found: pb.User = each
            return found
    command = f"otopilot users add {user_id} --venue {venue}"
    paper_too = f", or make a paper account: `{command} --paper`" if services.settings.mode == "paper" else ""
    message = f"user {user_id} has no credential for {venue}"
    raise CliError(Exit.NOT_FOUND, message, f"store one with `{command}`{paper_too}")


def _check(services: Services, user_id: str, venue: Venue, output: Format) -> None:
    """Use the credential once and show the user. Raises CliError (denied) when the venue says no."""
    service = services.orders
    refused: CliError | None = None
    try:
        request = pb.GetBalancesRequest(user_id=user_id, venue=wire.venue_to_pb(venue))
        service.ask(service.stub.GetBalances, request)
    except CliError as error:
        if error.code in (Exit.UNREACHABLE, Exit.TIMEOUT, Exit.RATE_LIMITED):
            raise
        refused = error
    known = _stored(services, user_id, venue)
    accepted = refused is None and known.state != pb.USER_STATE_STOPPED
    if output is Format.TABLE:
        _print([known], output)
    else:
        print_json(as_dict(known) | {"accepted": accepted}, output)
    if not accepted:
        why = refused.message if refused is not None else known.reason
        fresh = f"store a fresh one with `otopilot users rotate {user_id} --venue {venue}`"
        raise CliError(Exit.DENIED, f"user {user_id} cannot trade on {venue}: {why}", fresh)
    say(f"the venue accepts the credential of user {user_id}")


def put(services: Services, user_id: str, venue: Venue, kind: str, secret: bytes) -> pb.User:
    """Hand a credential to order_service; settling that user may take a moment."""
    request = pb.PutCredentialRequest(
        user_id=user_id, venue=wire.venue_to_pb(venue), kind=kind, secret=secret
    )
    service = services.admin
    stored: pb.User = service.ask(service.stub.PutCredential, request, clients.SETTLE_SECONDS)
    return stored


def add_paper_user(services: Services, user_id: str, venue: Venue) -> pb.User:
    """An account on the paper exchange (the one there is, if there is one), its key stored."""
    if services.settings.mode != "paper":
        raise CliError(Exit.WRONG_STATE, "paper accounts exist in paper mode only")
    credential = paper.Control(services.settings.paper.url).account(user_id, venue.value)
    kind = credential.pop("kind")
    return put(services, user_id, venue, kind, json.dumps(credential).encode())


def _secret(file: Path | None) -> bytes:
    if file is None and sys.stdin.isatty():
        say("paste the secret JSON, then press Ctrl+D")
    try:
        if file is not None:
            with file.open("rb") as source:
                raw = source.read(MAX_SECRET_BYTES + 1)
        else:
            raw = sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise CliError(
            Exit.CONFIG, f"cannot read the secret from {file or 'standard input'}: {error.strerror}"
        ) from None
    if len(raw) > MAX_SECRET_BYTES:
        raise CliError(Exit.CONFIG, f"a secret of more than {MAX_SECRET_BYTES} bytes is none")
    if not raw.strip():
        whence = str(file) if file is not None else "standard input"
        raise CliError(Exit.CONFIG, f"there is no secret: {whence} is empty", HOW_TO_GIVE_IT)
    try:
        parsed = json.loads(raw)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        # Nothing of what was read may be repeated here.
        raise CliError(Exit.CONFIG, "the secret is no JSON object", HOW_TO_GIVE_IT)
    return raw


def _print(users: Any, output: Format, empty: str = "") -> None:
    rows = [
        (
            enum_word(market_pb2.Venue.Name(each.venue), "VENUE_"),
            each.user_id,
            enum_word(pb.UserState.Name(each.state), "USER_STATE_"),
            each.credential_kind,
            each.stored_at.ToJsonString() if each.HasField("stored_at") else "",
            each.reason or each.reason_code,
        )
        for each in users
    ]
    print_rows(output, COLUMNS, rows, [as_dict(each) for each in users], empty)
