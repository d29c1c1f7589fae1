"""What `otopilot doctor` asks of services that run: health, contract, credentials, budgets."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from otopilot import wire
from otopilot.instrument import Venue
from protos import market_pb2, order_pb2, strategy_pb2
from protos import order_pb2 as pb
from strategy_service.cli import launch
from strategy_service.cli.amounts import enum_word
from strategy_service.cli.checks import Finding, Verdict, ok
from strategy_service.cli.clients import Services
from strategy_service.cli.errors import CliError
from strategy_service.cli.paper import Control
from strategy_service.config import TradingConfig

SECONDS = 3.0
SLOW_ROTATION_MS = 60_000
_FILES: dict[str, Any] = {
    "market-service": market_pb2.DESCRIPTOR,
    "order-service": order_pb2.DESCRIPTOR,
    "strategy-service": strategy_pb2.DESCRIPTOR,
}


def health(services: Services) -> Iterator[tuple[str, Finding]]:
    """Each service that answers: does it serve, and by the contract of this installation?"""
    settings = services.settings
    if settings.mode == "paper" and (finding := _exchange(settings.paper.url)):
        yield launch.PAPER_EXCHANGE, finding
    for name, endpoint in launch.endpoints(settings).items():
        channel = services.channel(endpoint.target)
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError:
            continue
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            hint = f"wait a moment; then read `otopilot logs {name}`"
            yield name, Finding(name, Verdict.WARNING, f"up at {endpoint.target}, does not serve yet", hint)
        elif _speaks_another(channel, name):
            hint = "restart it: it was started from another version"
            yield name, Finding(name, Verdict.ERROR, f"at {endpoint.target} speaks another contract", hint)
        else:
            yield name, ok(name, f"serves at {endpoint.target}")


def _exchange(url: str) -> Finding | None:
    try:
        world = Control(url).world()
    except CliError:
        return None
    frozen = ", its market stands still" if world.get("frozen") else ""
    return ok(launch.PAPER_EXCHANGE, f"serves at {url}, world {world.get('world_id', '')}{frozen}")


def _speaks_another(channel: grpc.Channel, name: str) -> bool:
    """By reflection: is the service's own file another than ours?"""
    ours = _FILES[name]
    request = reflection_pb2.ServerReflectionRequest(file_by_filename=ours.name)
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    try:
        answer = next(iter(stub.ServerReflectionInfo(iter((request,)), timeout=SECONDS)))
    except (grpc.RpcError, StopIteration):
        return True
    texts = answer.file_descriptor_response.file_descriptor_proto
    found = [descriptor_pb2.FileDescriptorProto.FromString(text) for text in texts]
    mine = descriptor_pb2.FileDescriptorProto.FromString(ours.serialized_pb)
    return mine not in found


def credentials(services: Services, trading: TradingConfig) -> Iterator[Finding]:
    """Has every configured user a credential that works?"""
    admin = services.admin
    listed = admin.ask(admin.stub.ListUsers, pb.ListUsersRequest()).users
    known = {(each.user_id, each.venue): each for each in listed}
    wanted = {(user, each.venue) for each in trading.enabled() for user in each.user_ids}
    good = 0
    for user_id, venue in sorted(wanted):
        found = known.get((user_id, wire.venue_to_pb(venue)))
        finding = _credential(services, user_id, venue, found)
        good += finding is None
        if finding is not None:
            yield finding
    if good:
        yield ok("credentials", f"{good} of {len(wanted)} configured users can trade")


def _credential(services: Services, user_id: str, venue: Venue, found: pb.User | None) -> Finding | None:
    paper = services.settings.mode == "paper"
    who = f"user {user_id} on {venue}"
    if found is None:
        hint = f"`otopilot users add {user_id} --venue {venue}{' --paper' if paper else ''}`"
        return Finding("credentials", Verdict.ERROR, f"{who} has none", hint)
    if found.state == pb.USER_STATE_STOPPED:
        hint = f"`otopilot users rotate {user_id} --venue {venue}`"
        return Finding("credentials", Verdict.ERROR, f"{who}: {found.reason or found.reason_code}", hint)
    if found.state == pb.USER_STATE_SETTLING:
        why = found.reason or "orders and history are being read"
        return Finding("credentials", Verdict.NOTE, f"{who}: {why}", "it goes on by itself")
    return None


def budgets(services: Services) -> Iterator[Finding]:
    """Weight, bans, denials and waits, and how long one rotation of the sweeps takes (reliability 10)."""
    admin = services.admin
    answer = admin.ask(admin.stub.GetCounters, pb.GetCountersRequest())
    for each in answer.budgets:
        venue = enum_word(market_pb2.Venue.Name(each.venue), "VENUE_")
        used = f", {each.used_weight} of {each.weight_limit} weight used" if each.weight_limit else ""
        detail = f"rotation of sweeps {each.rotation_ms / 1000:.1f} s{used}"
        if each.waited or each.denied:
            detail += f", {each.waited} requests waited, {each.denied} placements denied"
        if each.HasField("closed_until"):
            detail += f"; closed until {each.closed_until.ToJsonString()}"
            hint = "the venue limits or bans this address: wait, it opens by itself"
            yield Finding(f"sweeps on {venue}", Verdict.WARNING, detail, hint)
        elif each.rotation_ms > SLOW_ROTATION_MS:
            hint = "what the pushes miss is found late: fewer users, or longer intervals"
            yield Finding(f"sweeps on {venue}", Verdict.WARNING, detail, hint)
        else:
            yield ok(f"sweeps on {venue}", detail)
    if guard := answer.guard:
        if guard.shared_trades or guard.expired_in_match:
            detail = (
                f"{guard.shared_trades} shared trades, {guard.expired_in_match} orders expired in a match"
            )
            hint = "two managed orders may have met: look at both accounts before going on"
            yield Finding("self-match guard", Verdict.ERROR, detail, hint)
        else:
            yield ok("self-match guard", _guard(guard))


def _guard(guard: pb.GuardCounters) -> str:
    """What it did since the service started: each denial is asked again, or given up."""
    denied = guard.denied_by_orders + guard.denied_by_waiters
    longest = f" of {guard.longest_wait_ms / 1000:.1f} s at most" if guard.waits else ""
    return f"{guard.admitted} admitted, {denied} denied, {guard.waits} waits{longest}, none met"
