"""The command line: one file per command, every heavy import inside the command that needs it."""

from accelsim.cli.app import main

__all__ = ["main"]
