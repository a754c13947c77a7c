"""Whether a record is plausible, and what happens to one that is not. Pure: no I/O, no clock, no platform.

`gate` judges a record by its platform's rules (`platforms/trust`) and by `memory`, what is known of the entity. `witnesses` decides about
one held record, `cohort` about many of one source at once, and `breaker` whether a source is asked at all.
"""
