"""Faults on purpose, over real processes and sockets: the catalogue and the proof of each of its rows."""
