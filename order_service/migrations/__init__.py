"""How an older journal becomes one of the newest schema: one file a step, run by `otopilot db upgrade`."""
