"""The command line: one module a command, options and help text only."""

import gc
import os

# A run is short and leaves few cycles behind: looking for them every 700 objects takes a tenth of its start-up.
gc.set_threshold(200_000, 20, 20)

# A chunk of weights lies in one processor's cache: handing half of it to another thread costs more than it saves.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
