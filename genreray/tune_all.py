"""Every architecture searched in turn on the same features, and one table of what each gained."""

import dataclasses

from genreray import models, storage, tuned_page
from genreray import space as spaces
from genreray.cluster import Cluster
from genreray.errors import UserError, reason
from genreray.featureset import FeatureSet
from genreray.progress import Progress
from genreray.search_plan import SearchPlan
from genreray.sharing import Pool
from genreray.tune import tune
from genreray.tuned import Tuned, TunedModels

FOLDER = "models"  # with a folder for the search of each
_TOP = (tuned_page.HTML_NAME, tuned_page.MARKDOWN_NAME, tuned_page.JSON_NAME, "summary.json")


def tune_all(
    features_uri: str, run_uri: str, plan: SearchPlan, *, cluster: Cluster, progress: Progress
) -> tuple[TunedModels, int]:
    """Search every architecture that has settings to search, and return the table, written after each, and trials run.

    What an earlier run did is taken from `run_uri`. An architecture that cannot be searched is a row that says why.
    Raises UserError where no architecture can be, or where `run_uri` holds something else.
    """
    if plan.space is not None:
        raise UserError("--space holds the settings of one architecture: give --model NAME, or leave it out")
    run_uri = storage.absolute(run_uri)
    _check_output(run_uri)
    features = FeatureSet.open(features_uri)
    names = [name for name, family in models.MODELS.items() if spaces.varied(family.space)]
    if left_out := [name for name in models.MODELS if name not in names]:
        progress.line(f"left out, without settings to search: {', '.join(left_out)}")
    pool = Pool(_inputs(names, plan))
    rows: list[Tuned] = []
    n_run = 0
    for number, name in enumerate(names, 1):
        progress.line(f"architecture {number} of {len(names)}: {name}")
        try:
            # FMA's own statistics are of the models on statistics alone.
            with_fma = plan.fma_features if "mfcc_stats" in models.family(name).module.inputs else None
            done = tune(
                features_uri,
                storage.join(run_uri, FOLDER, name),
                name,
                dataclasses.replace(plan, fma_features=with_fma),
                cluster=cluster,
                progress=progress,
                pool=pool if with_fma is None else None,
                score_default=True,
            )
            rows.append(Tuned.of(done.found, done.found.seconds))
            n_run += done.n_run
        except KeyboardInterrupt as stopped:
            stopped.add_note(f"{number - 1} of {len(names)} architectures")
            raise
        except Exception as error:  # of whatever kind: the others go on
            rows.append(Tuned.failed_at_once(name, reason(error)))
            progress.line(f"{name} failed: {rows[-1].error}")
        table = TunedModels(features.uri, features.split_method, plan.metric, rows, names)
        tuned_page.write(run_uri, table)
    if all(row.error for row in rows):
        raise UserError(f"no architecture could be searched; {rows[0].name}: {rows[0].error}")
    return table, n_run


def _inputs(names: list[str], plan: SearchPlan) -> tuple[str, ...]:
    """Return the inputs of all these models, each once."""
    found = dict.fromkeys(name for model in names for name in models.family(model).module.inputs)
    if plan.fma_features is not None:
        found.pop("mfcc_stats", None)
    return tuple(found)


def _check_output(run_uri: str) -> None:
    if not storage.exists(run_uri):
        return
    for name, _ in storage.list_files(run_uri):
        if name not in _TOP and not name.startswith(f"{FOLDER}/"):
            raise UserError(f"{run_uri} holds {name}, which is not part of a table of searches: give another folder")
