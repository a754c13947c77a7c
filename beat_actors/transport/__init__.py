"""The ways out of the process: HTTP to providers."""
