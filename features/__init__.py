"""`images` + `annotations` -> `samples`, and a pinned Delta snapshot -> batches of tensors."""
