"""Backups of a volume: made, listed, verified, restored, repaired.

Nothing in here needs a running server, and none is stopped for it.
"""
