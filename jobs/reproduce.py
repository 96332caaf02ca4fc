"""`genreray reproduce` as an entry point for `ray job submit -- python jobs/reproduce.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
