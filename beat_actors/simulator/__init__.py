"""The providers' doubles: one server that answers as each provider does, with its limits, its errors, and faults on demand.

Part of the product: people try Beat on it, and rehearse incidents. Nothing in the engine imports it.
"""
