"""The one way to a store's data: its own Admin API."""
