"""A store's domain. It names the store, owns its credentials and becomes a URL, so nothing else may pass."""

import re

# source: the host name that Shopify's guide to OAuth says that apps must check; a label of a host name has 63 characters at most.
DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\.myshopify\.com")


def domain(text: str) -> str:
    """The domain in lower case. Raises `ValueError` where it is not a store's."""
    # ASCII first: there are other letters whose lower case is one of a to z.
    if text.isascii() and DOMAIN.fullmatch(text.lower()):
        return text.lower()
    raise ValueError(f"a store is named by its domain, such as example.myshopify.com, not {text[:80]!r}")
