"""A sink as another distribution would write it, and what is wrong with it in several ways: the conformance suite has to find each."""
