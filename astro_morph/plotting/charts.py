# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Draw charts: confusion matrix, ROC curves, reliability, groups, history and feature map."""

import math
from functools import partial

import numpy as np

__all__ = ['confusion', 'feature_map', 'groups', 'history', 'reliability', 'roc']

# Side of a chart, in inches.
SIDE = 4.2

# Galaxies in a feature map: with more, points overlap and t-SNE takes minutes.
MOST_POINTS = 3000

# Quantities in a history, and the titles of their panels.
CURVES = {
    'loss': 'loss',
    'accuracy': 'accuracy on views',
    'neighbor_accuracy': 'neighbours of the same class',
    'feature_scatter': 'scatter of the features',
    'effective_rank': 'effective rank of the features',
    'learning_rate': 'learning rate',
}


def confusion(evaluation):
    """
    Plot the confusion matrix.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        Predictions and true classes.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The counts, coloured by the fraction of each true class.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.evaluation import Evaluation
    >>> evaluation = Evaluation(['E', 'S'], ['E', 'S'], [[0.9, 0.1], [0.6, 0.4]])
    >>> figure = plotting.confusion(evaluation)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '0', '1', '0']
    """
    figure, axes = _chart('predicted class', 'true class')
    counts = evaluation.confusion
    fraction = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(fraction, cmap='Blues', vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = 'white' if fraction[row, column] > 0.5 else 'black'
        axes.text(column, row, str(count), color=colour, ha='center', va='center')
    ticks = range(len(counts))
    names = list(map(_as_plain_text, evaluation.classes))
    axes.set_xticks(ticks, names, rotation=30, ha='right', rotation_mode='anchor')
    axes.set_yticks(ticks, names)
    axes.set_title(f'accuracy {evaluation.accuracy:.3f}')
    figure.colorbar(image, ax=axes, label='fraction of the true class', shrink=0.8)
    return figure


def roc(evaluation):
    """
    Plot the receiver operating characteristic (ROC) of each class against the others.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        Predictions and true classes.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A curve per class, with the area under it.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.evaluation import Evaluation
    >>> evaluation = Evaluation(
    ...     ['E', 'S'], ['E', 'E', 'S', 'S'], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    >>> figure = plotting.roc(evaluation)
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['E 1.000', 'S 1.000']
    """
    figure, axes = _chart('false positive rate', 'true positive rate')
    for label, area in evaluation.to_table().iterrows('class', 'roc_auc'):
        if np.isfinite(area):
            axes.step(
                *evaluation.roc(label), where='post', label=f'{_as_plain_text(label)} {area:.3f}'
            )
    axes.plot([0, 1], [0, 1], color='0.7', linestyle=':')
    axes.set_aspect('equal')
    axes.legend(title='class, area', loc='lower right')
    return figure


def reliability(evaluation):
    """
    Plot the reliability diagram: accuracy against confidence.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        Predictions and true classes.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Accuracy against confidence with binomial errors, above the number of galaxies per bin.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.evaluation import Evaluation
    >>> evaluation = Evaluation(
    ...     ['E', 'S'], ['E', 'E', 'S', 'S'], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    >>> figure = plotting.reliability(evaluation)
    >>> figure.axes[0].get_title()
    'expected calibration error 0.275'
    """
    from astro_morph.plotting.figures import Figure

    n, confidence, accuracy = evaluation.reliability()
    there = n > 0
    n, confidence, accuracy = n[there], confidence[there], accuracy[there]
    figure = Figure(figsize=(SIDE, 1.2 * SIDE), layout='constrained')
    axes, below = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    # With one more correct and one more wrong prediction, so that no error is zero.
    error = np.sqrt((n * accuracy + 1) * (n - n * accuracy + 1) / (n + 2) ** 3)
    axes.plot([0, 1], [0, 1], color='0.7', linestyle=':')
    axes.errorbar(confidence, accuracy, error, fmt='o', capsize=2)
    axes.set(ylabel='accuracy', ylim=(-0.03, 1.03))
    axes.set_title(f'expected calibration error {evaluation.calibration_error:.3f}')
    below.bar(confidence, n, width=0.05)
    below.set(xlabel='confidence', ylabel='galaxies', yscale='log', xlim=(0, 1.03))
    return figure


def groups(evaluation, by, *, n_bins=5):
    """
    Plot accuracy, calibration error and coverage for each bin or kind of galaxies.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        Predictions and true classes.
    by : str or array_like, shape (n,)
        A column of the catalogue, or a value for each galaxy, as in
        `astro_morph.evaluation.Evaluation.groups`.
    n_bins : int, default=5
        Number of bins of a numeric column.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A panel for each metric, with 95 % confidence intervals.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.evaluation import Evaluation
    >>> evaluation = Evaluation(
    ...     ['E', 'S'], ['E', 'E', 'S', 'S'], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    >>> figure = plotting.groups(evaluation, ['faint', 'faint', 'bright', 'bright'])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['accuracy', 'calibration error']
    """
    from astro_morph.plotting.figures import Figure

    table = evaluation.groups(by, n_bins=n_bins)
    names = [name.removesuffix('_low') for name in table.colnames if name.endswith('_low')]
    figure = Figure(figsize=(SIDE, 0.5 * SIDE * len(names) + 0.6), layout='constrained')
    panels = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    places = np.arange(len(table))
    for name, axes in zip(names, panels, strict=True):
        value, low, high = (table[f'{name}{end}'] for end in ('', '_low', '_high'))
        axes.plot(places, value, 'o')
        # Not error bars: the interval of a small error may end below the error as measured.
        axes.vlines(places, low, high)
        axes.set_ylabel(name.replace('_', ' '))
    labels = [f'{_as_plain_text(name)} ({n})' for name, n in table.iterrows('group', 'n')]
    panels[-1].set_xticks(places, labels, rotation=30, ha='right', rotation_mode='anchor')
    panels[-1].set_xlabel(_as_plain_text(by) if isinstance(by, str) else 'group (galaxies)')
    return figure


def feature_map(features, labels=None, *, method='pca', n_dimensions=2, random_state=0):
    """
    Plot a map of features, on which similar galaxies are close together.

    Parameters
    ----------
    features : array_like, shape (n, d)
        Features, as returned by ``MorphologyEncoder.transform``; rows with NaN are omitted.
    labels : array_like, shape (n,), default=None
        The class of each row, for the colours of the points.
    method : {'pca', 'tsne'}, default='pca'
        Principal component analysis, or t-SNE (van der Maaten & Hinton 2008), which preserves
        neighbours, but not distances.
    n_dimensions : {2, 3}, default=2
        Number of dimensions of the map.
    random_state : int, default=0
        Seed of t-SNE, and of the selection of 3000 galaxies if there are more.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The map.

    Raises
    ------
    ValueError
        If the method is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph import plotting
    >>> features = np.random.default_rng(0).normal(size=(40, 8))
    >>> figure = plotting.feature_map(features, ['E', 'S'] * 20, n_dimensions=3)
    >>> figure.axes[0].get_zlabel()
    'component 3'
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    from astro_morph.plotting.figures import Figure

    rows = np.flatnonzero(np.isfinite(features).all(axis=1))
    rows = np.random.default_rng(random_state).permutation(rows)[:MOST_POINTS]
    # t-SNE needs at least three times as many neighbours as its perplexity.
    tsne = partial(TSNE, perplexity=min(30, (len(rows) - 1) / 3))
    methods = {'pca': PCA, 'tsne': tsne}
    if method not in methods:
        msg = f'method is {method!r}, expected one of {list(methods)}'
        raise ValueError(msg)
    scaled = StandardScaler().fit_transform(np.asarray(features)[rows])
    if method == 'tsne':
        # As recommended by its authors: the last components are noise.
        scaled = PCA(min(30, *scaled.shape), random_state=random_state).fit_transform(scaled)
    places = methods[method](n_dimensions, random_state=random_state).fit_transform(scaled)

    figure = Figure(figsize=(SIDE, 1.1 * SIDE), layout='constrained')
    axes = figure.add_subplot(projection='3d' if n_dimensions == 3 else None)
    labels = np.full(len(rows), '') if labels is None else np.asarray(labels).astype(str)[rows]
    for label in np.unique(labels):
        axes.scatter(
            *places[labels == label].T, s=6, alpha=0.7, label=_as_plain_text(label), linewidths=0
        )
    if len(np.unique(labels)) > 1:
        figure.legend(loc='outside upper center', ncols=3, markerscale=2)
    names = [f'{"component" if method == "pca" else "t-SNE"} {i + 1}' for i in range(n_dimensions)]
    axes.set(**dict(zip(['xlabel', 'ylabel', 'zlabel'], names, strict=False)))
    return figure


def history(history):
    """
    Plot the training history.

    Parameters
    ----------
    history : list of dict
        A record per epoch: the ``history_`` of an estimator.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A curve for each recorded quantity against epoch.

    Raises
    ------
    ValueError
        If the history is empty.

    Examples
    --------
    >>> from astro_morph import MorphologyEncoder, plotting
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=16)
    >>> encoder = MorphologyEncoder(source=survey, size=32, epochs=2, verbose=0)
    >>> figure = plotting.history(encoder.fit(survey.catalogue).history_)
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['loss', 'accuracy on views']
    """
    from matplotlib.ticker import MaxNLocator

    from astro_morph.plotting.figures import Figure

    if not history:
        msg = 'history is empty: nothing was trained; a linear head on frozen features has none'
        raise ValueError(msg)
    names = [name for name in CURVES if any(name in record for record in history)]
    n_columns = math.ceil(len(names) / 2)
    figure = Figure(figsize=(3 * n_columns, 4.4), layout='constrained')
    panels = figure.subplots(2, n_columns, sharex=True, squeeze=False)
    for name, axes in zip(names, panels.flat, strict=False):
        # Some quantities are recorded every few epochs only.
        known = [record for record in history if name in record]
        epochs, values = ([record[key] for record in known] for key in ('epoch', name))
        axes.plot(epochs, values, '-' if len(known) > 1 else 'o')
        axes.set_title(CURVES[name], fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels.flat[len(names) :]:
        axes.remove()
    figure.supxlabel('epoch', fontsize=9)
    return figure


def _as_plain_text(label):
    """Return the name of a class as Matplotlib draws it; dollars would begin a formula."""
    return str(label).replace('$', r'\$')


def _chart(xlabel, ylabel):
    from astro_morph.plotting.figures import Figure

    figure = Figure(figsize=(SIDE, SIDE), layout='constrained')
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    return figure, axes
