"""``python -m semaug``."""

from semaug.cli import main

if __name__ == "__main__":
    main()
