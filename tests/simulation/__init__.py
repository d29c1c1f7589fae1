"""Otopilot on virtual time, with everything going wrong, and invariants checked at every step.

One seed is one whole world in one process: the paper exchange, the real order-side adapters over a
network that loses, delays and cuts, the real order_service and strategy_service, and crashes of
both (architecture 8, reliability 3). `python -m tests.simulation --help` runs seeds;
`make simulate SEED=n` repeats one exactly.

  loop clock trace                 virtual time, a seeded scheduler, what happened
  profiles scenario                how bad it gets; what one seed draws
  course operator nature           what happens when, what a person does, what nature does
  shared guard_hour                fifty users on a shared target; ten on one symbol for an hour
  network sockets frames exchange  the paper exchange and the bad line to it
  journal_view order_process       the order service's core, killed and started again
  rpc market strategy_process      the strategy service and its calls
  checkers/                        the invariants of reliability section 2
  simulation runner                one seed; many seeds
  planted planted_beside planting  defects that must be found
"""
