"""Who may use the API: keys, what they allow, and how a shown key is verified."""
