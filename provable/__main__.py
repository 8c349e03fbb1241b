"""`python -m provable` is the console script."""

from provable.cli import main

if __name__ == "__main__":
    main()
