"""One module a provider; each declares its `provider`."""
