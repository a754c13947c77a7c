"""What operators see of the whole installation: the metrics for Prometheus, the page of `beat brief`, and the screen of
`beat top`.

`families` declares every metric, and docs/metrics.md is made of it. `counts` are the sums of one process, which travel with the row that it
writes every ten seconds anyway. `tally` keeps the sums of processes that have ended and counts requests from the log of events; `state` reads
the gauges that take longer. `metrics` reads all of them with one query, and `exposition` writes the text that Prometheus reads.

The page of `beat brief`: `page`, `brief`, `roots`, `changes`, `past`, `markdown`. The screen of `beat top`: `overview`, `picture`.
"""
