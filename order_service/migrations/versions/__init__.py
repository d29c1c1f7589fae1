"""The steps, oldest first. A step that was released never changes: it knows no module of today's."""
