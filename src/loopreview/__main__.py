"""`python -m loopreview`."""

from loopreview.cli.main import run

run()
