"""The sinks that Beat brings: one module each, found by the scheme of a URL (`registry`). A sink follows the contract in `events/sink`."""
