"""What training costs as its rows grow: what growth.py measures, of `genreray train`."""

import dataclasses

from benchmarks import command, growth

STANDARD = dataclasses.replace(growth.STANDARD, jobs=growth.TRAINING)
QUICK = dataclasses.replace(growth.QUICK, jobs=growth.TRAINING)

if __name__ == "__main__":
    command.main("growth_train", growth.run, STANDARD, QUICK)
