"""Notifications: alerts are sent to people and to the tools that they watch. `docs/notifications.md` describes them for operators.

`sinks`: where they go. `queue`: which messages are due, and what each sink was told. `notifier`: sends them. `message`: what they contain.
`senders`: the form that each kind of sink takes.
"""
