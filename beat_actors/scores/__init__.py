"""How well each source serves each operation: counted by the processes that call and read, added up by week, compared."""
