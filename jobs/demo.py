"""`genreray demo` as an entry point for `ray job submit -- python jobs/demo.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
