"""The child's side of the probes: one module a probe, each with `probe(runtime, inputs, job)`, and what they share.

Everything here runs in a process of its own (`avreview.sandbox`), on a model that may be hostile. A probe answers with
a JSON-like dict of measurements; what they mean is decided by the parent. `Refused` ends a probe with a reason.
"""
