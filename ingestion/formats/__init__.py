"""One module a format: files -> `Records`, and what is wrong with the file as a whole."""
