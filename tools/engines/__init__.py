"""Real inference engines on a CPU, with models made here: `python -m tools.engines --help`.

Everything they need lies in `.cache/engines`, an environment each. Nothing of the product knows
of them, and neither `make test` nor CI runs them.
"""
