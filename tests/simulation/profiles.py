"""How bad it gets: chances per request, frame, call and commit, and how often processes die."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """Chances are per request, frame, call or commit; seconds are virtual."""

    name: str
    # requests to the venue
    refused_connection: float
    lost_request: float
    lost_answer: float
    late_request: float  # arrives long after the client gave up
    latest_seconds: float
    late_answer: float
    error_before: float  # 5xx, nothing done
    error_after: float  # 5xx, done
    garbage: float
    stale_read: float
    ban: float
    engine_delay: float
    outages: int  # at most, each of a whole venue
    # user streams
    frame_lost: float
    frame_twice: float
    frame_late: float
    cuts_per_minute: float
    half_open: float  # share of the cuts that the client does not notice
    # calls of the strategy service
    call_lost: float
    call_unanswered: float
    call_late: float
    stream_cuts_per_minute: float
    price_stall: float
    # the machine
    failed_commit: float
    order_kills: int  # at most
    strategy_kills: int
    stand_stills: int  # at most, of either service's machine
    zombie: float  # chance that the strategy service is replaced while its machine stands still
    conditions: int  # at most: a market halted, withdrawn, with other filters
    wishes: int  # at most: somebody pauses, stops, starts, reloads
    skew_seconds: float
    revoked_user: float  # chance that one user's credential ends
    manual_orders: float  # chance that somebody trades by hand


MILD = Profile(
    name="mild",
    refused_connection=0.002,
    lost_request=0.003,
    lost_answer=0.01,
    late_request=0.002,
    latest_seconds=12.0,
    late_answer=0.01,
    error_before=0.004,
    error_after=0.004,
    garbage=0.001,
    stale_read=0.01,
    ban=0.0003,
    engine_delay=0.005,
    outages=1,
    frame_lost=0.05,
    frame_twice=0.05,
    frame_late=0.05,
    cuts_per_minute=0.5,
    half_open=0.3,
    call_lost=0.005,
    call_unanswered=0.005,
    call_late=0.005,
    stream_cuts_per_minute=1.0,
    price_stall=0.01,
    failed_commit=0.001,
    order_kills=1,
    strategy_kills=1,
    stand_stills=1,
    zombie=0.2,
    conditions=1,
    wishes=4,
    skew_seconds=0.2,
    revoked_user=0.1,
    manual_orders=0.3,
)

HARSH = Profile(
    name="harsh",
    refused_connection=0.01,
    lost_request=0.02,
    lost_answer=0.06,
    late_request=0.02,
    latest_seconds=25.0,
    late_answer=0.04,
    error_before=0.02,
    error_after=0.03,
    garbage=0.005,
    stale_read=0.04,
    ban=0.001,
    engine_delay=0.02,
    outages=2,
    frame_lost=0.25,
    frame_twice=0.2,
    frame_late=0.2,
    cuts_per_minute=2.0,
    half_open=0.4,
    call_lost=0.02,
    call_unanswered=0.03,
    call_late=0.03,
    stream_cuts_per_minute=4.0,
    price_stall=0.03,
    failed_commit=0.005,
    order_kills=3,
    strategy_kills=2,
    stand_stills=2,
    zombie=0.4,
    conditions=2,
    wishes=4,
    skew_seconds=1.5,
    revoked_user=0.2,
    manual_orders=0.6,
)


def alone(profile: Profile) -> Profile:
    """The same where nobody intervenes, no market changes and no machine stands still."""
    return replace(profile, name=f"{profile.name}-alone", stand_stills=0, zombie=0.0, conditions=0, wishes=0)


PROFILES = {profile.name: profile for profile in (MILD, HARSH, alone(MILD), alone(HARSH))}
# What one word of the command line stands for.
SETS = {name: (name,) for name in PROFILES} | {
    "both": ("harsh", "mild"),
    "alone": ("harsh-alone", "mild-alone"),
}
