"""The command line: reads flags, shows what happens, and turns results into exit codes."""
