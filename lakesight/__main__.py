"""`python -m lakesight`."""

from lakesight.cli import main

if __name__ == "__main__":
    main()
