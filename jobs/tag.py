"""`genreray tag` as an entry point for `ray job submit -- python jobs/tag.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["tag", *sys.argv[1:]]))
