"""OpenTelemetry traces of requests. Spans are made from rows once a request has ended, so its work costs nothing for being traced: `context` (ids,
and what callers send), `sampling` and `choosing` (which traces are exported) and `tree` (the spans of one) do no I/O; `reading` gets the rows,
`collector` speaks with the collector, and `exporting` does one after the other."""
