"""loopreview: review synthetic conversations, calibrate the judges, train on what you approved."""

__version__ = "0.1.0"
