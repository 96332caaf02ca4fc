"""`genreray untag` as an entry point for `ray job submit -- python jobs/untag.py`: the same flags."""

import sys

from genreray.entry import main

if __name__ == "__main__":
    sys.exit(main(["untag", *sys.argv[1:]]))
