"""Pictures and videos of entities: they are fetched from their origin, checked, and stored in a bucket."""
