"""Other people's files, in and out. Nothing here knows the store."""
