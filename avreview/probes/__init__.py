"""Probes: what only running a model can show, measured in a child process that may hang, crash or eat memory.

This package is the parent's side: what is asked for (`request`), what inputs are made (`plan`), starting a child and
reading what it came to (`probing`), and one module a probe, which turns a child's answer into a fact. The child's side
is `avreview.probes.child`; nothing outside it imports ONNX Runtime. Only a review with `--probe` imports either.
"""
