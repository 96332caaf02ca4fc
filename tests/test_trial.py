import dataclasses

import pytest
from making import SMALL, feature_rows, write_features

from genreray import checkpoint, models, space
from genreray.cluster import Workers
from genreray.featureset import FeatureSet
from genreray.labels import learnable
from genreray.trial import Common


@pytest.mark.parametrize(("asked", "compiled"), [("auto", "off"), ("off", "off"), ("on", "on")])
def test_trials_are_compiled_only_where_that_is_asked_for(tmp_path, asked, compiled):
    features = FeatureSet.open(write_features(tmp_path, feature_rows()))
    base = space.default_configs(models.family("short_chunk_resnet"))
    assert base.training.compile == "auto"
    base = base._replace(training=dataclasses.replace(base.training, compile=asked, crop_frames=64))
    common = Common(
        run_uri=str(tmp_path),
        model="short_chunk_resnet",
        features=SMALL,
        learnt=learnable(features, "genre"),
        statistics=checkpoint.CLIP,
        base=base,
        plan=Workers(count=1, gpu=False, cpus=1.0, threads=1, memory=0),
        shared=None,
    )
    task = common.task("0000", {"learning_rate": 1e-3})
    assert (task.config.compile, task.settings.training["compile"]) == (compiled, compiled)
