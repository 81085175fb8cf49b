"""What spans the stages: a batch, a rubric test, the demo."""
