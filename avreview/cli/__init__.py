"""The command line: one module a command, options and help text only."""

import gc

# A run is short and leaves few cycles behind: looking for them every 700 objects takes a tenth of its start-up.
gc.set_threshold(200_000, 20, 20)
