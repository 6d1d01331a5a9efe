"""``python3 -m accelsim.measure``: the reference back-end from a plain checkout."""

import sys

from accelsim.measure.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
