"""One module a checklist item, one function a rule. A check knows facts and nothing of files or printing."""
