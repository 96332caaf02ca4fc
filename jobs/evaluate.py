"""`genreray evaluate` as an entry point for `ray job submit -- python jobs/evaluate.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
