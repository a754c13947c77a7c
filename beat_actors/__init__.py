"""Beat, the engine as a library: it knows PostgreSQL, HTTP and the field's rules, and none of its three faces."""
