"""Auditing a set of transcripts: faults that no single transcript shows."""
