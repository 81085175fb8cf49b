"""The only SQL: what happened in a workspace. Open a `Store` (database.py); one module per noun takes it first."""
