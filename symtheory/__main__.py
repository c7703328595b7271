"""``python -m symtheory``: the command line."""

from symtheory.cli import main

if __name__ == "__main__":
    main()
