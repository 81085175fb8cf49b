"""Simulated models that need no key and no network, for the demo and the tests. They are not language models."""
