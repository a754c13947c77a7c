"""Limits on what may be asked on demand: a stack of them for each platform, counted in Redis for all processes at once.

They guard the budget that people share. The provider's quota is guarded by the CredentialBroker, whatever is asked and by whom.
"""
