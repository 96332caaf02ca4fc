"""`genreray train` as an entry point for `ray job submit -- python jobs/train.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
