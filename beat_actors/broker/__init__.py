"""The CredentialBroker: which fetch is leased to which credential and source, and what outcomes mean. Its door is `turn`."""
