"""The picture in docs/order-lifecycle.md is what TRANSITIONS says (architecture 4)."""

import re
from pathlib import Path

from otopilot.order import OVER, TRANSITIONS, OrderState

PAGE = Path(__file__).parents[2] / "docs" / "order-lifecycle.md"
BEGIN = OrderState.SUBMITTING


def picture() -> str:
    """TRANSITIONS as a mermaid state diagram, in the order of the enum."""
    lines = ["stateDiagram-v2", f"    [*] --> {BEGIN.name}"]
    for state in OrderState:
        # Only an order that was proven absent, not one that was refused, comes back.
        label = ": found alive after all" if state is OrderState.REJECTED else ""
        lines += [
            f"    {state.name} --> {end.name}{label}" for end in OrderState if end in TRANSITIONS[state]
        ]
    lines += [f"    {state.name} --> [*]" for state in OrderState if state in OVER]
    return "\n".join(lines)


def test_the_picture_is_what_the_code_says() -> None:
    drawn = re.findall(r"```mermaid\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert drawn == [picture()]


def test_the_page_explains_every_state() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [state.name for state in OrderState]
