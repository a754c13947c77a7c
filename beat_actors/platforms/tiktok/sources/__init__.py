"""The ways to TikTok's data: one module each."""
