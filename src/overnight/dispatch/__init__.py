"""The hot path: take a request, send it, check the reply, write it down. No SQL, no jobs."""
