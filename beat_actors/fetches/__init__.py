"""One upstream call's life, and the only writer of `scrape_fetch`: who claims a fetch, what ends a stage, what takes a fetch from a dead holder.

What is called, parsed and recorded meanwhile is `beat_actors.pipeline`; what a fetch is for is `beat_actors.requests`, which owns it.
"""
