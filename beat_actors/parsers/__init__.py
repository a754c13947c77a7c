"""What the parsers of the installed code read of stored payloads, compared with what was stored of them. It calls no provider and writes nothing."""
