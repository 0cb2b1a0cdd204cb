"""Rows and bytes that outlive a process: verbs over SQL, and where files lie.

Every verb takes the open transaction `tx` first, so that a caller composes several into one
commit. A verb never begins or ends a transaction, and never asks what time it is.
"""
