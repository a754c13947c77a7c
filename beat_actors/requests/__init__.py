"""What consumers ask for: intake, life cycle, and what can be told about a request."""
