"""Dataset: approved transcripts become training data."""
