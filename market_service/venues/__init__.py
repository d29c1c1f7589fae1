"""The venues' public sides: streams and REST reads. Venue spelling never leaves this package."""
