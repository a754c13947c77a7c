"""OpenTelemetry traces of requests. Spans are made from rows once a request has ended, so its work costs nothing for being traced: `context` (ids,
and what callers send), `sampling` (which traces are exported) and `tree` (the spans of one) do no I/O; `reading` gets the rows, `otlp` speaks with the
collector, and `exporting` does one after the other."""
