"""What consumers ask for: intake, life cycle, and what can be said about a request."""
