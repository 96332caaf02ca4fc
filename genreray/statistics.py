"""FEATURES with the MFCC statistics that FMA computed, of whole tracks, in place of those of the clips."""

from genreray import models
from genreray.catalog import fma_features
from genreray.errors import UserError
from genreray.featureset import FeatureSet


def with_fma_statistics(features: FeatureSet, uri: str, model: str) -> FeatureSet:
    """Return the features with the MFCC statistics of FMA's features.csv at `uri`.

    Raises UserError where the model does not read statistics, or they do not fit.
    """
    takers = [name for name, family in models.MODELS.items() if "mfcc_stats" in family.module.inputs]
    if "mfcc_stats" not in models.family(model).module.inputs:
        raise UserError(f"{model} does not read MFCC statistics: leave --fma-features out, or use {', '.join(takers)}")
    if features.config.n_mfcc != fma_features.N_MFCC:
        raise UserError(
            f"{uri} has statistics of {fma_features.N_MFCC} MFCC, {features.uri} {features.config.n_mfcc} MFCC: "
            f"extract with --n-mfcc {fma_features.N_MFCC}"
        )
    return features.with_statistics(fma_features.read(uri), uri)
