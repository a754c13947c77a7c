"""Held records: what the gate held, until another source or a person decides. The rows; `beat_actors/trust` decides, and does no I/O."""
