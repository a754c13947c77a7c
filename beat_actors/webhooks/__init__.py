"""Webhooks: what the outbox says, delivered by HTTP to the endpoints that asked for it, signed as Standard Webhooks."""
