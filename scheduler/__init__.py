"""The clock: one APScheduler daemon that sweeps. Nothing durable lives in it, and any number of it does no harm."""
