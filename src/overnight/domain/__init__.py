"""Pure rules of the service: states, lines, plans, retries. No I/O, no clock, no chance."""
