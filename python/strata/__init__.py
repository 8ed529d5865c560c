"""Factorization and graph networks for recommendations, out of core and in this process.

>>> import strata
>>> model = strata.ALS(rank=8, epochs=2, progress=False).fit("purchases.parquet")
>>> len(model.recommend(k=5)) > 0
True
"""

from strata._engine import __version__
from strata._recommender import Recommender
from strata._table import Table
from strata.errors import (
    BugError,
    DataError,
    InputOutputError,
    NotFittedError,
    PermissionDeniedError,
    SettingsError,
    StrataError,
    TryAgainError,
    UnavailableError,
)
from strata.models import ALS, GCN, SGD, GraphFilter, LightGCN, Spectral, TensorALS, load

__all__ = [
    "ALS",
    "GCN",
    "SGD",
    "BugError",
    "DataError",
    "GraphFilter",
    "InputOutputError",
    "LightGCN",
    "NotFittedError",
    "PermissionDeniedError",
    "Recommender",
    "SettingsError",
    "Spectral",
    "StrataError",
    "Table",
    "TensorALS",
    "TryAgainError",
    "UnavailableError",
    "__version__",
    "load",
]
