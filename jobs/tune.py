"""`genreray tune` as an entry point for `ray job submit -- python jobs/tune.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
