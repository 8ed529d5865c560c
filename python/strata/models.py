"""The models. Each says which keys of ``[model]`` (``docs/settings.md``) are its parameters; ``settings`` takes the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strata import _job, _jobs
from strata._recommender import Recommender
from strata.errors import SettingsError

__all__ = ["ALS", "GCN", "SGD", "GraphFilter", "LightGCN", "Spectral", "TensorALS", "load"]


class ALS(Recommender):
    """Matrix factorization by alternating least squares, of implicit feedback or of values.

    Parameters
    ----------
    rank : int, optional
        The length r of a row of factors.
    epochs : int, optional
        Passes over users and products.
    preset : str, optional
        How interactions weigh: ``"hu"``, ``"rendle"`` (implicit feedback), ``"explicit"`` (values) or ``"full"``.
    regularization, nu : float, optional
        A row with n interactions is held by ``regularization * n**nu``.
    alpha, alpha0 : float, optional
        The weight of an interaction and that of a cell without one.
    solver : str, optional
        ``"cholesky"``, ``"dual"``, ``"cg"``, ``"subspace"`` or ``"auto"``.
    biases, non_negative : bool, optional
        Whether rows have biases; whether all factors are 0 or more.
    patience : int, optional
        Early stopping: epochs without a better one on the validation part.
    seed : int, optional
        Of everything random.
    split, settings, memory, threads, workers, progress
        As of every model: see :class:`Recommender`.

    Examples
    --------
    >>> import strata
    >>> model = strata.ALS(rank=8, epochs=2, progress=False)
    >>> model = model.fit("purchases.parquet", user="user", product="product")
    >>> model.recommend(users=[1, 2], k=3)
    <strata.Table of 6 rows: user, rank, product, score>
    >>> model.factors("product")["factors"].shape[1]
    8
    """

    _fixed = {"kind": "als"}

    def __init__(
        self,
        rank: int | None = None,
        *,
        epochs: int | None = None,
        preset: str | None = None,
        regularization: float | None = None,
        nu: float | None = None,
        alpha: float | None = None,
        alpha0: float | None = None,
        solver: str | None = None,
        biases: bool | None = None,
        non_negative: bool | None = None,
        patience: int | None = None,
        seed: int | None = None,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(
            split=split,
            settings=settings,
            memory=memory,
            threads=threads,
            workers=workers,
            progress=progress,
        )
        self.rank = rank
        self.epochs = epochs
        self.preset = preset
        self.regularization = regularization
        self.nu = nu
        self.alpha = alpha
        self.alpha0 = alpha0
        self.solver = solver
        self.biases = biases
        self.non_negative = non_negative
        self.patience = patience
        self.seed = seed


class TensorALS(ALS):
    """Tensor factorization, users x products x bins of time, by alternating least squares.

    ``fit`` needs ``time``. A score is the sum over the rank of user, product and bin.

    Parameters
    ----------
    time_smoothing : float, optional
        How strongly the factors of neighbouring bins hold together.
    forecast : str, optional
        The factors of bins to come: ``"last"``, ``"drift"`` or ``"seasonal"`` (with ``period``).
    period : int, optional
        Bins after which the seasons come again.
    rank, epochs, preset, regularization, nu, alpha, alpha0, solver, biases, non_negative, patience, seed
        As of :class:`ALS`.
    split, settings, memory, threads, workers, progress
        As of every model: see :class:`Recommender`.
    """

    _fixed = {"kind": "als", "time": "factor"}

    def __init__(
        self,
        rank: int | None = None,
        *,
        epochs: int | None = None,
        preset: str | None = None,
        regularization: float | None = None,
        nu: float | None = None,
        alpha: float | None = None,
        alpha0: float | None = None,
        solver: str | None = None,
        biases: bool | None = None,
        non_negative: bool | None = None,
        patience: int | None = None,
        seed: int | None = None,
        time_smoothing: float | None = None,
        forecast: str | None = None,
        period: int | None = None,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(
            rank,
            epochs=epochs,
            preset=preset,
            regularization=regularization,
            nu=nu,
            alpha=alpha,
            alpha0=alpha0,
            solver=solver,
            biases=biases,
            non_negative=non_negative,
            patience=patience,
            seed=seed,
            split=split,
            settings=settings,
            memory=memory,
            threads=threads,
            workers=workers,
            progress=progress,
        )
        self.time_smoothing = time_smoothing
        self.forecast = forecast
        self.period = period


class SGD(Recommender):
    """Matrix factorization by stochastic gradient descent, for losses that have no closed form.

    Parameters
    ----------
    loss : str, optional
        ``"logistic"``, ``"bpr"``, ``"squared"``, ``"poisson"`` or ``"bernoulli-poisson"``.
    negatives : int, optional
        Drawn for an interaction.
    optimizer : str, optional
        ``"adagrad"`` or ``"sgd"``.
    rate, decay : float, optional
        The length of a step, and what it is multiplied by after every epoch.
    rank, epochs, regularization, biases, patience, seed
        As of :class:`ALS`.
    split, settings, memory, threads, workers, progress
        As of every model: see :class:`Recommender`.
    """

    _fixed = {"kind": "sgd"}

    def __init__(
        self,
        rank: int | None = None,
        *,
        epochs: int | None = None,
        loss: str | None = None,
        negatives: int | None = None,
        optimizer: str | None = None,
        rate: float | None = None,
        decay: float | None = None,
        regularization: float | None = None,
        biases: bool | None = None,
        patience: int | None = None,
        seed: int | None = None,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(
            split=split,
            settings=settings,
            memory=memory,
            threads=threads,
            workers=workers,
            progress=progress,
        )
        self.rank = rank
        self.epochs = epochs
        self.loss = loss
        self.negatives = negatives
        self.optimizer = optimizer
        self.rate = rate
        self.decay = decay
        self.regularization = regularization
        self.biases = biases
        self.patience = patience
        self.seed = seed


class LightGCN(Recommender):
    """A learnt embedding, smoothed over the graph of users and products (LightGCN).

    Parameters
    ----------
    layers : int, optional
        How far it is smoothed: 2 reaches users of the same products.
    loss : str, optional
        ``"all-pairs"``, ``"bpr"``, ``"logistic"`` or ``"squared"``.
    negatives, batches : int, optional
        Drawn for an interaction; steps of an epoch.
    rate : float, optional
        The length of a step of Adam.
    rank, epochs, regularization, alpha0, patience, seed
        As of :class:`ALS`; these need 20 to 50 epochs.
    split, settings, memory, threads, workers, progress
        As of every model: see :class:`Recommender`.
    """

    _fixed = {"kind": "lightgcn"}

    def __init__(
        self,
        rank: int | None = None,
        *,
        epochs: int | None = None,
        layers: int | None = None,
        loss: str | None = None,
        negatives: int | None = None,
        batches: int | None = None,
        rate: float | None = None,
        regularization: float | None = None,
        alpha0: float | None = None,
        patience: int | None = None,
        seed: int | None = None,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(
            split=split,
            settings=settings,
            memory=memory,
            threads=threads,
            workers=workers,
            progress=progress,
        )
        self.rank = rank
        self.epochs = epochs
        self.layers = layers
        self.loss = loss
        self.negatives = negatives
        self.batches = batches
        self.rate = rate
        self.regularization = regularization
        self.alpha0 = alpha0
        self.patience = patience
        self.seed = seed


class GCN(LightGCN):
    """A graph convolutional network: layers with weights on the graph, of embeddings, attributes or both.

    Parameters
    ----------
    features : str, optional
        What the first layer reads: ``"embeddings"``, ``"attributes"`` or ``"both"``. Tables of attributes are named in
        ``settings``, as in ``{"input.user_attributes.files": ["users.parquet"]}``.
    activation : str, optional
        ``"identity"``, ``"relu"`` or ``"tanh"``.
    dropout : float, optional
        The share of numbers between layers that training drops.
    readout, self_weights, weights : str, optional
        What is scored (``"mean"`` or ``"last"``), a row's own matrix (``"tied"``, ``"free"``), and whether users and products
        have their own (``"separate"``, ``"shared"``).
    rank, epochs, layers, loss, negatives, batches, rate, regularization, alpha0, patience, seed
        As of :class:`LightGCN`.
    split, settings, memory, threads, workers, progress
        As of every model: see :class:`Recommender`.
    """

    _fixed = {"kind": "gcn"}

    def __init__(
        self,
        rank: int | None = None,
        *,
        epochs: int | None = None,
        layers: int | None = None,
        features: str | None = None,
        activation: str | None = None,
        dropout: float | None = None,
        readout: str | None = None,
        self_weights: str | None = None,
        weights: str | None = None,
        loss: str | None = None,
        negatives: int | None = None,
        batches: int | None = None,
        rate: float | None = None,
        regularization: float | None = None,
        alpha0: float | None = None,
        patience: int | None = None,
        seed: int | None = None,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(
            rank,
            epochs=epochs,
            layers=layers,
            loss=loss,
            negatives=negatives,
            batches=batches,
            rate=rate,
            regularization=regularization,
            alpha0=alpha0,
            patience=patience,
            seed=seed,
            split=split,
            settings=settings,
            memory=memory,
            threads=threads,
            workers=workers,
            progress=progress,
        )
        self.features = features
        self.activation = activation
        self.dropout = dropout
        self.readout = readout
        self.self_weights = self_weights
        self.weights = weights


class GraphFilter(Recommender):
    """The closed-form filter of the graph (GF-CF): a linear part and the r strongest directions, without descent.

    Parameters
    ----------
    rank : int, optional
        Directions of the low-pass part.
    epochs : int, optional
        Iterations that find them.
    filter_weight : float, optional
        What the low-pass part weighs beside the linear one.
    filter_linear : bool, optional
        Whether the linear part counts.
    edges : str, optional
        ``"binary"`` or ``"values"``.
    distill : int, optional
        Columns of plain factors that are fitted to its scores; 0: it scores itself.
    seed : int, optional
        Of everything random.
    split, settings, memory, threads, workers, progress
        As of every model: see :class:`Recommender`.
    """

    _fixed = {"kind": "filter"}

    def __init__(
        self,
        rank: int | None = None,
        *,
        epochs: int | None = None,
        filter_weight: float | None = None,
        filter_linear: bool | None = None,
        edges: str | None = None,
        distill: int | None = None,
        seed: int | None = None,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(
            split=split,
            settings=settings,
            memory=memory,
            threads=threads,
            workers=workers,
            progress=progress,
        )
        self.rank = rank
        self.epochs = epochs
        self.filter_weight = filter_weight
        self.filter_linear = filter_linear
        self.edges = edges
        self.distill = distill
        self.seed = seed


class Spectral(Recommender):
    """Singular vectors of the graph, by randomized subspace iteration.

    Parameters
    ----------
    rank : int, optional
        How many.
    epochs : int, optional
        Iterations that find them.
    walk_length : int, optional
        Walks up to this length count: 1 to 3.
    normalization : str, optional
        ``"none"``, ``"symmetric"`` or ``"random-walk"``.
    edges : str, optional
        ``"binary"`` or ``"values"``.
    seed : int, optional
        Of everything random.
    split, settings, memory, threads, workers, progress
        As of every model: see :class:`Recommender`.
    """

    _fixed = {"kind": "spectral"}

    def __init__(
        self,
        rank: int | None = None,
        *,
        epochs: int | None = None,
        walk_length: int | None = None,
        normalization: str | None = None,
        edges: str | None = None,
        seed: int | None = None,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(
            split=split,
            settings=settings,
            memory=memory,
            threads=threads,
            workers=workers,
            progress=progress,
        )
        self.rank = rank
        self.epochs = epochs
        self.walk_length = walk_length
        self.normalization = normalization
        self.edges = edges
        self.seed = seed


_KINDS: dict[str, type[Recommender]] = {
    "als": ALS,
    "sgd": SGD,
    "lightgcn": LightGCN,
    "gcn": GCN,
    "filter": GraphFilter,
    "spectral": Spectral,
}


def load(path: str | Path, *, progress: bool | None = None) -> Recommender:
    """Load a model: a folder that ``save`` wrote, or a job file of the command line whose model is trained.

    Parameters
    ----------
    path : path
        The folder with ``job.toml`` in it, or the job file.
    progress : bool, optional
        As of every model.

    Returns
    -------
    Recommender
        Of the class of the job's ``model.kind``.
    """
    file = Path(path).absolute()
    file = file / "job.toml" if file.is_dir() else file
    given = _jobs.given(file)
    for key in ("output.data", "output.model"):
        if key not in given:
            raise SettingsError(f"{file} names no `{key}`: it is not the job of a model")
        place = given[key]
        given[key] = place if "://" in place else str((file.parent / place).resolve())
    kind = _KINDS.get(given.get("model.kind", "als"))
    if kind is None:
        raise SettingsError(f"models of the kind {given['model.kind']} are for the command line")
    if kind is ALS and given.get("model.time") == "factor":
        kind = TensorALS
    job: _job.Job = {}
    wanted = ("input.", "split.", "model.", "run.", "output.data", "output.model")
    for key, value in given.items():
        if key.startswith(wanted) and not key.startswith("input.files"):
            _job.put(job, key, value)
    names = kind._names()
    model_keys = {key.removeprefix("model."): value for key, value in given.items() if key.startswith("model.")}
    rest = {f"model.{name}": value for name, value in model_keys.items() if name not in names}
    for name in kind._fixed:
        rest.pop(f"model.{name}", None)
    made = kind(
        **{name: value for name, value in model_keys.items() if name in names},
        split={key.removeprefix("split."): value for key, value in given.items() if key.startswith("split.")} or None,
        settings=rest or None,
        progress=progress,
    )
    made._load(job)
    return made
