"""How grave an alert is."""

SEVERITIES = ("info", "warning", "critical")
"""The least grave first."""
