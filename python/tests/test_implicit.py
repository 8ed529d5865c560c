"""The adapter for callers of `implicit`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import strata
from strata.implicit import AlternatingLeastSquares

ALPHA, LAMBDA, RANK, ITERATIONS = 2.0, 0.5, 5, 4


@pytest.fixture(scope="module")
def user_items(table: pa.Table) -> sp.csr_matrix:
    frame = table.to_pandas()
    # A user and two items more, who have nothing.
    return sp.csr_matrix((frame["pieces"], (frame["user"], frame["product"])), shape=(201, 122))


@pytest.fixture(scope="module")
def fitted(user_items: sp.csr_matrix) -> AlternatingLeastSquares:
    model = AlternatingLeastSquares(RANK, LAMBDA, ALPHA, ITERATIONS, random_state=1)
    model.fit(user_items, show_progress=False)
    return model


def test_the_last_half_step_solves_the_problem_of_hu(fitted: AlternatingLeastSquares, user_items: sp.csr_matrix) -> None:
    """The items were solved last: each is where the gradient of its own least squares is zero, written naively."""
    users = fitted.user_factors.astype(np.float64)
    dense = user_items.toarray()
    for item in (0, 17, 60, 119):
        weight = 1 + ALPHA * dense[:, item]
        wanted = (dense[:, item] > 0).astype(np.float64)
        left = users.T @ (weight[:, None] * users) + LAMBDA * np.eye(RANK)
        solved = np.linalg.solve(left, users.T @ (weight * wanted))
        np.testing.assert_allclose(fitted.item_factors[item], solved, rtol=1e-3, atol=1e-4)
    assert not fitted.user_factors[200].any() and not fitted.item_factors[120:].any()


def test_recommendations_are_arrays(fitted: AlternatingLeastSquares, user_items: sp.csr_matrix) -> None:
    ids, scores = fitted.recommend(7, user_items[7], N=5)
    assert ids.shape == scores.shape == (5,) and np.all(np.diff(scores) <= 0)
    assert not set(ids) & set(user_items[7].indices)
    many, _ = fitted.recommend(np.array([3, 7]), user_items[[3, 7]], N=5)
    assert many.shape == (2, 5) and list(many[1]) == list(ids)
    some, _ = fitted.recommend(7, N=3, filter_already_liked_items=False, items=[1, 2, 3, 4], filter_items=[2])
    assert sorted(some) == [1, 3, 4]
    few, scores = fitted.recommend(7, N=3, filter_already_liked_items=False, items=[1])
    assert list(few) == [1, -1, -1]
    # The same as the model behind says.
    assert fitted.model is not None
    lists = fitted.model.recommend(users=7, k=5)
    assert list(lists["product"]) == list(ids)


def test_alike_rows(fitted: AlternatingLeastSquares) -> None:
    ids, cosines = fitted.similar_items(3, N=4)
    assert ids[0] == 3 and cosines[0] == pytest.approx(1, abs=1e-5)
    ids, _ = fitted.similar_users([1, 2], N=4)
    assert ids.shape == (2, 4) and list(ids[:, 0]) == [1, 2]


def test_wrong_calls_are_told(fitted: AlternatingLeastSquares, user_items: sp.csr_matrix) -> None:
    with pytest.raises(strata.DataError, match="500 is no user: positions are from 0 to 200"):
        fitted.recommend(500, N=2, filter_already_liked_items=False)
    with pytest.raises(strata.DataError, match="needs user_items"):
        fitted.recommend(5)
    with pytest.raises(strata.DataError, match="have 201 rows for 1 users"):
        fitted.recommend(5, user_items)
    with pytest.raises(strata.DataError, match="user_items are a ndarray"):
        AlternatingLeastSquares().fit(user_items.toarray())
    with pytest.raises(strata.NotFittedError, match="not fitted"):
        AlternatingLeastSquares().recommend(1)
