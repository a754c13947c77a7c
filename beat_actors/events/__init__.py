"""Events: what has happened, in one log with one order, and the sinks that it is published to."""
