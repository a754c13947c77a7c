"""HTTP: requests come in, what is known goes out. Falcon, ASGI."""
