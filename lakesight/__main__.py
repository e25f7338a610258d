"""`python -m lakesight`."""

from lakesight.cli.app import main

if __name__ == "__main__":
    main()
