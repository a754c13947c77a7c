"""Who may use the API: keys, what they allow, and how a key that is shown is told from one that is not."""
