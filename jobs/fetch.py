"""`genreray fetch` as an entry point for `ray job submit -- python jobs/fetch.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["fetch", *sys.argv[1:]]))
