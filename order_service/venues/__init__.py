"""What a venue can do, and the adapters that do it."""
