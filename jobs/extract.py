"""`genreray extract` as an entry point for `ray job submit -- python jobs/extract.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["extract", *sys.argv[1:]]))
