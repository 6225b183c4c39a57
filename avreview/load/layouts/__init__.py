"""How frameworks lay out a checkpoint: what its keys mean. Values come from an unpickler that obeyed nothing."""
