"""For notebooks that use ``implicit``: sparse matrices in, arrays of positions out.

>>> import numpy as np, scipy.sparse as sp
>>> from strata.implicit import AlternatingLeastSquares
>>> model = AlternatingLeastSquares(factors=2, iterations=2, random_state=1)
>>> model.fit(sp.csr_matrix(np.eye(4) + np.eye(4, k=1)), show_progress=False)
>>> model.user_factors.shape, model.item_factors.shape
((4, 2), (4, 2))
"""

from __future__ import annotations

from typing import Any

from strata.errors import DataError, NotFittedError
from strata.models import ALS

__all__ = ["AlternatingLeastSquares"]


class AlternatingLeastSquares:
    """The model of Hu, Koren and Volinsky, with the names of ``implicit.als.AlternatingLeastSquares``.

    Parameters
    ----------
    factors : int
        The length r of a row of factors.
    regularization : float
        Lambda, the same for every row.
    alpha : float
        An entry of value x weighs 1 + alpha * x, a cell without one 1.
    iterations : int
        Passes over users and items.
    use_cg : bool
        Three steps of conjugate gradients a row instead of an exact solve.
    random_state : int, optional
        The seed.
    num_threads : int
        0: all cores.

    Attributes
    ----------
    user_factors, item_factors : ndarray of float32
        Of the shapes (users, r) and (items, r); rows without an entry are zero.
    model : ALS
        The model behind, with ``digest``, ``history`` and all else.
    """

    def __init__(
        self,
        factors: int = 100,
        regularization: float = 0.01,
        alpha: float = 1.0,
        iterations: int = 15,
        use_cg: bool = False,
        random_state: int | None = None,
        num_threads: int = 0,
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.iterations = iterations
        self.use_cg = use_cg
        self.random_state = random_state
        self.num_threads = num_threads
        self.model: ALS | None = None
        self.user_factors: Any = None
        self.item_factors: Any = None

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Train on a sparse matrix, users x items; entries that are stored as zero do not count.

        ``callback(iteration, seconds, objective)`` is called for every iteration when all are done.
        """
        if not hasattr(user_items, "tocoo"):
            raise DataError(f"user_items are a {type(user_items).__name__}: give a sparse matrix of SciPy, users x items")
        entries = user_items.tocsr(copy=True)
        entries.sum_duplicates()
        entries.eliminate_zeros()
        model = ALS(
            self.factors,
            epochs=self.iterations,
            preset="hu",
            regularization=self.regularization,
            nu=0.0,
            alpha=self.alpha,
            alpha0=1.0,
            solver="cg" if self.use_cg else None,
            seed=self.random_state,
            threads=self.num_threads or None,
            progress=None if show_progress else False,
        )
        self.model = model.fit(entries)
        users, items = entries.shape
        self.user_factors = self._rows("user", users)
        self.item_factors = self._rows("product", items)
        if callback is not None:
            for epoch in self.model.history:
                callback(epoch["epoch"] - 1, epoch["seconds"], epoch["objective"])

    def _rows(self, mode: str, count: int) -> Any:
        import numpy as np

        if self.model is None:
            raise NotFittedError("this AlternatingLeastSquares is not fitted: call fit()")
        table = self.model.factors(mode)
        factors = table["factors"]
        rows = np.zeros((count, factors.shape[1]), dtype=np.float32)
        rows[table[mode]] = factors
        return rows

    def _fitted(self) -> None:
        if self.model is None:
            raise NotFittedError("this AlternatingLeastSquares is not fitted: call fit()")

    def recommend(
        self,
        userid: Any,
        user_items: Any = None,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[Any, Any]:
        """The best items for a user, or for each of several.

        Parameters
        ----------
        userid : int or array of int
            Positions of users.
        user_items : sparse matrix, optional
            The rows of these users: what is left out where ``filter_already_liked_items``.
        N : int
            How many.
        filter_items, items : array of int, optional
            Items that are left out; the only ones that are ranked.

        Returns
        -------
        ids, scores : ndarray
            Of the shape (N,), or (users, N); where fewer are left, the id is -1 and the score the lowest f32.
        """
        import numpy as np

        self._fitted()
        alone = np.ndim(userid) == 0
        users = np.atleast_1d(np.asarray(userid))
        self._within(users, len(self.user_factors), "user")
        scores = self.user_factors[users] @ self.item_factors.T
        lowest = np.finfo(np.float32).min
        if filter_already_liked_items:
            if user_items is None:
                raise DataError("filter_already_liked_items needs user_items: the rows of these users")
            liked = user_items.tocsr()
            if liked.shape[0] != len(users):
                raise DataError(f"user_items have {liked.shape[0]} rows for {len(users)} users: give the row of each")
            scores[liked.nonzero()] = lowest
        if items is not None:
            others = np.ones(scores.shape[1], dtype=bool)
            others[np.asarray(items)] = False
            scores[:, others] = lowest
        if filter_items is not None:
            scores[:, np.asarray(filter_items)] = lowest
        ids, best = _top(scores, N, lowest)
        return (ids[0], best[0]) if alone else (ids, best)

    def similar_items(self, itemid: Any, N: int = 10) -> tuple[Any, Any]:
        """Items that are like an item, or like each of several, itself among them: positions and cosines."""
        return self._similar(self.item_factors, itemid, N, "item")

    def similar_users(self, userid: Any, N: int = 10) -> tuple[Any, Any]:
        """Users who are like a user, or like each of several, himself among them: positions and cosines."""
        return self._similar(self.user_factors, userid, N, "user")

    def _similar(self, rows: Any, ids: Any, count: int, what: str) -> tuple[Any, Any]:
        import numpy as np

        self._fitted()
        alone = np.ndim(ids) == 0
        wanted = np.atleast_1d(np.asarray(ids))
        self._within(wanted, len(rows), what)
        lengths = np.linalg.norm(rows, axis=1)
        directions = rows / np.where(lengths > 0, lengths, 1)[:, None]
        lowest = np.finfo(np.float32).min
        found, cosines = _top(directions[wanted] @ directions.T, count, lowest)
        return (found[0], cosines[0]) if alone else (found, cosines)

    @staticmethod
    def _within(ids: Any, count: int, what: str) -> None:
        wrong = ids[(ids < 0) | (ids >= count)]
        if len(wrong):
            raise DataError(f"{wrong[0]} is no {what}: positions are from 0 to {count - 1}")


def _top(scores: Any, count: int, lowest: Any) -> tuple[Any, Any]:
    """The best of each row, ties by position."""
    import numpy as np

    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(scores, order, axis=1)
    return np.where(best > lowest, order, -1), best
