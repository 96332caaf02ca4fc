"""`genreray review` as an entry point for `ray job submit -- python jobs/review.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["review", *sys.argv[1:]]))
