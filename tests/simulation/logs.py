"""The services' logs in a run: warnings into the trace, errors nobody expected into a violation."""

import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

# What a service says of a defect; everything else it says belongs to its work.
DEFECTS = (
    "task failed",
    "treatment failed",
    "placement raised",
    "user stream failed",
    "what follows a commit failed",
    "a decision failed half way",
    "books not rebuilt",
    "loop crashed",
    "trade counted already",
)


@contextmanager
def captured(sim: "Simulation") -> Iterator[None]:
    """Inside the block, logs go into the run's trace."""
    before = structlog.get_config()

    def take(_: object, method: str, event: MutableMapping[str, Any]) -> str:
        if sim.loop.reaping:
            raise structlog.DropEvent
        text = str(event.pop("event"))
        component = str(event.pop("component", "log"))
        error = event.pop("exc_info", None)
        if error is True:
            error = traceback.format_exc()
        rest = " ".join(f"{key}={value}" for key, value in sorted(event.items()) if key != "traceback")
        sim.trace.add(component, f"{text} {rest}")
        sim.tell("said", f"{text} {rest} {event.get('traceback', '')} {error if error else ''}")
        if text in DEFECTS or (text == "sweep failed" and error):
            sim.defect(component, f"{text} {rest} {event.get('traceback', '')} {error if error else ''}")
        raise structlog.DropEvent

    structlog.configure(
        processors=[take],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
