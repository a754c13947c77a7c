"""Webhooks: what the outbox says, delivered by HTTP to whoever asked for it, signed as Standard Webhooks."""
