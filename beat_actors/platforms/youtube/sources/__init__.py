"""The providers of YouTube's data, one module each."""
