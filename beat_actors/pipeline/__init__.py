"""The stages: each takes a batch, claims it with a fence, does its work, and commits effect and transition together."""
