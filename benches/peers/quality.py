"""Recommendation quality on the bundled purchases: Python `implicit`, settings chosen on validation, beside ours.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 scipy==1.17.1 pyarrow==26.0.1 implicit==0.7.3
    venv/bin/python benches/peers/quality.py [RECOMMENDATIONS.parquet]

Split: ISO weeks; the last, partial one is dropped, the four before it are the test, the four before those the
validation. A model is fitted on training weeks only; products seen in training or validation are masked. Settings
are chosen by NDCG@20 on validation (mask: training), the test is read once. RECOMMENDATIONS.parquet is the file that
`coordinator run` wrote for the same split with `output.recommend.seen=include` and `output.recommend.top=1000`; where given, the paired difference to
`implicit` is printed with a bootstrap interval over users.
"""

import itertools
import json
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "..", "examples", "complete-journey", "transactions.parquet")
K = 20


def load():
    table = pq.read_table(DATA, columns=["household_id", "product_id", "day"])
    days = table["day"].cast("int32").to_numpy()
    weeks = (days + 3) // 7
    users, user = np.unique(table["household_id"].to_numpy(), return_inverse=True)
    products, product = np.unique(table["product_id"].to_numpy(), return_inverse=True)
    last = weeks.max() - (1 if (days.max() + 3) % 7 != 6 else 0)
    return users, products, user, product, weeks, last


def counts(user, product, keep, shape):
    ones = np.ones(keep.sum(), dtype=np.float32)
    return sp.csr_matrix((ones, (user[keep], product[keep])), shape=shape)


def metrics(ranked, relevant):
    """Per-user recall@20 and NDCG@20; users without a relevant product are not in `relevant`."""
    discounts = 1.0 / np.log2(np.arange(2, K + 2))
    rows = []
    for user, truth in relevant.items():
        hits = np.isin(ranked[user][:K], list(truth))
        ideal = discounts[: min(K, len(truth))].sum()
        rows.append((hits.sum() / len(truth), (hits * discounts[: len(hits)]).sum() / ideal))
    return np.array(rows)


def relevant_new(truth, mask, train):
    """Relevant products by user: bought in the period and never before. Those that nobody bought in training
    stay: every model misses them."""
    rows = {}
    for user in range(truth.shape[0]):
        if train.indptr[user] == train.indptr[user + 1]:
            continue
        new = set(truth[user].indices) - set(mask[user].indices)
        if new:
            rows[user] = new
    return rows


def rank(model, train, mask, users):
    # Products without a training purchase are no candidates: filtered for everybody.
    unknown = np.flatnonzero(np.asarray(train.sum(axis=0)).ravel() == 0)
    ids, _ = model.recommend(
        users, mask[users], N=K, filter_already_liked_items=True, filter_items=unknown
    )
    return dict(zip(users, ids))


def fit(train, factors, alpha, regularization, iterations):
    model = AlternatingLeastSquares(
        factors=factors, alpha=alpha, regularization=regularization, iterations=iterations,
        use_cg=True, num_threads=2, random_state=7,
    )
    model.fit(train, show_progress=False)
    return model


def interval(values, draws=1000):
    generator = np.random.default_rng(1)
    means = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(draws)]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def main():
    users, products, user, product, weeks, last = load()
    shape = (len(users), len(products))
    train = counts(user, product, weeks <= last - 8, shape)
    validation = counts(user, product, (weeks > last - 8) & (weeks <= last - 4), shape)
    test = counts(user, product, (weeks > last - 4) & (weeks <= last), shape)

    truth = relevant_new(validation, train, train)
    best = None
    for alpha, regularization in itertools.product([0.5, 1, 2, 5, 10, 20], [1, 3, 10, 30, 100]):
        model = fit(train, 64, alpha, regularization, 15)
        recall, ndcg = metrics(rank(model, train, train, np.array(list(truth))), truth).mean(axis=0)
        print(f"validation: alpha {alpha:5} lambda {regularization:5}: recall@20 {recall:.4f} NDCG@20 {ndcg:.4f}", flush=True)
        if best is None or ndcg > best[0]:
            best = (ndcg, alpha, regularization)
    _, alpha, regularization = best

    mask = ((train + validation) > 0).astype(np.float32).tocsr()
    truth = relevant_new(test, mask, train)
    order = np.array(list(truth))
    model = fit(train, 64, alpha, regularization, 15)
    theirs = metrics(rank(model, train, mask, order), truth)
    popular = np.asarray(train.sum(axis=0)).ravel()
    by_count = np.argsort(-popular, kind="stable")
    popularity = {}
    for row in order:
        seen = set(mask[row].indices)
        popularity[row] = np.array(list(itertools.islice((p for p in by_count if p not in seen), K)))
    result = {
        "users": len(order),
        "implicit": {"alpha": alpha, "lambda": regularization, "recall@20": theirs[:, 0].mean(), "ndcg@20": theirs[:, 1].mean()},
    }
    base = metrics(popularity, truth)
    result["popularity"] = {"recall@20": base[:, 0].mean(), "ndcg@20": base[:, 1].mean()}
    if len(sys.argv) > 1:
        table = pq.read_table(sys.argv[1]).sort_by([("household_id", "ascending"), ("rank", "ascending")])
        rows = np.searchsorted(users, table["household_id"].to_numpy())
        items = np.searchsorted(products, table["product_id"].to_numpy())
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        ranked = dict(zip(rows[starts], np.split(items, starts[1:])))
        # Ours would leave out what was bought in the test weeks, too: so the file has all products, and is masked here.
        seen = {row: set(mask[row].indices) for row in ranked}
        ranked = {row: np.array([p for p in items if p not in seen[row]][:K], dtype=int) for row, items in ranked.items()}
        ours = metrics({row: ranked.get(row, np.array([], dtype=int)) for row in order}, truth)
        result["ours"] = {"recall@20": ours[:, 0].mean(), "ndcg@20": ours[:, 1].mean()}
        for column, name in enumerate(["recall@20", "ndcg@20"]):
            for rival, values in [("implicit", theirs), ("popularity", base)]:
                difference = ours[:, column] - values[:, column]
                result[f"{name} minus {rival}"] = {"mean": difference.mean(), "interval95": interval(difference)}
    print(json.dumps(result, indent=1, default=float))


if __name__ == "__main__":
    main()
