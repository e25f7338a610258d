"""The command line; `lakesight.cli.app` is its entry point."""
