# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Charts of how well a model does, and of what its features hold."""

from functools import partial

import numpy as np

__all__ = ['confusion', 'feature_map', 'reliability', 'roc']

# Side of a chart, in inches.
SIDE = 4.2

# Galaxies beyond which a feature map is a blot, and takes minutes.
MOST_POINTS = 3000


def confusion(evaluation):
    """
    Draw the confusion matrix.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        The comparison with known classes.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The share of each true class that is predicted as each class, and counts.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.evaluation import Evaluation
    >>> evaluation = Evaluation(['E', 'S'], ['E', 'S'], [[0.9, 0.1], [0.6, 0.4]])
    >>> figure = plotting.confusion(evaluation)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '0', '1', '0']
    """
    figure, axes = _chart('predicted', 'true')
    counts = evaluation.confusion
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = 'white' if share[row, column] > 0.5 else 'black'
        axes.text(column, row, str(count), color=colour, ha='center', va='center')
    ticks = range(len(counts))
    axes.set_xticks(ticks, evaluation.classes, rotation=30, ha='right', rotation_mode='anchor')
    axes.set_yticks(ticks, evaluation.classes)
    axes.set_title(f'accuracy {evaluation.accuracy:.3f}')
    figure.colorbar(image, ax=axes, label='share of the true class', shrink=0.8)
    return figure


def roc(evaluation):
    """
    Draw the receiver operating characteristic of each class against the others.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        The comparison with known classes.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A curve a class, with its area.

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
    figure, axes = _chart('false positives', 'true positives')
    for label, area in evaluation.to_table().iterrows('class', 'roc_auc'):
        if np.isfinite(area):
            axes.step(*evaluation.roc(label), where='post', label=f'{label} {area:.3f}')
    axes.plot([0, 1], [0, 1], color='0.7', linestyle=':')
    axes.set_aspect('equal')
    axes.legend(title='class and area', loc='lower right')
    return figure


def reliability(evaluation):
    """
    Draw how often predictions of some confidence are right.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        The comparison with known classes.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Accuracy against confidence, with its binomial error, on top of the number of predictions.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.evaluation import Evaluation
    >>> evaluation = Evaluation(
    ...     ['E', 'S'], ['E', 'E', 'S', 'S'], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    >>> figure = plotting.reliability(evaluation)
    >>> figure.axes[0].get_title()
    'expected calibration error 0.300'
    """
    from matplotlib.figure import Figure

    n, confidence, accuracy = evaluation.reliability()
    there = n > 0
    n, confidence, accuracy = n[there], confidence[there], accuracy[there]
    figure = Figure(figsize=(SIDE, 1.2 * SIDE), layout='constrained')
    axes, below = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    # Of one galaxy more of each kind, so that no bin is without error.
    error = np.sqrt((n * accuracy + 1) * (n - n * accuracy + 1) / (n + 2) ** 3)
    axes.plot([0, 1], [0, 1], color='0.7', linestyle=':')
    axes.errorbar(confidence, accuracy, error, fmt='o', capsize=2)
    axes.set(ylabel='share that is right', ylim=(-0.03, 1.03))
    axes.set_title(f'expected calibration error {evaluation.calibration_error:.3f}')
    below.bar(confidence, n, width=0.05)
    below.set(xlabel='confidence', ylabel='galaxies', yscale='log', xlim=(0, 1.03))
    return figure


def feature_map(features, labels=None, *, method='pca', n_dimensions=2, random_state=0):
    """
    Draw features on a map, where galaxies that look alike lie together.

    Parameters
    ----------
    features : array_like, shape (n, d)
        What ``MorphologyEncoder.transform`` gives; rows with NaN are left out.
    labels : array_like, shape (n,), optional
        A class a row, which is drawn in its colour.
    method : {'pca', 'tsne'}, optional
        Principal components, or t-SNE (van der Maaten & Hinton 2008), which keeps neighbours
        together, whereas its distances mean little.
    n_dimensions : {2, 3}, optional
        Dimensions of the map.
    random_state : int, optional
        Seed of the t-SNE, and of the choice of 3000 of more galaxies.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The map.

    Raises
    ------
    ValueError
        If the method is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph import plotting
    >>> features = np.random.default_rng(0).normal(size=(40, 8))
    >>> figure = plotting.feature_map(features, ['E', 'S'] * 20, n_dimensions=3)
    >>> figure.axes[0].get_zlabel()
    'component 3'
    """
    from matplotlib.figure import Figure
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    rows = np.flatnonzero(np.isfinite(features).all(axis=1))
    rows = np.random.default_rng(random_state).permutation(rows)[:MOST_POINTS]
    # t-SNE looks at three times as many neighbours as its perplexity says: so many there must be.
    tsne = partial(TSNE, perplexity=min(30, (len(rows) - 1) / 3))
    methods = {'pca': PCA, 'tsne': tsne}
    if method not in methods:
        msg = f'method must be one of {list(methods)}, got {method!r}'
        raise ValueError(msg)
    scaled = StandardScaler().fit_transform(np.asarray(features)[rows])
    if method == 'tsne':
        # As its authors do: the last components are noise.
        scaled = PCA(min(30, *scaled.shape), random_state=random_state).fit_transform(scaled)
    places = methods[method](n_dimensions, random_state=random_state).fit_transform(scaled)

    figure = Figure(figsize=(SIDE, 1.1 * SIDE), layout='constrained')
    axes = figure.add_subplot(projection='3d' if n_dimensions == 3 else None)
    labels = np.full(len(rows), '') if labels is None else np.asarray(labels).astype(str)[rows]
    for label in np.unique(labels):
        axes.scatter(*places[labels == label].T, s=6, alpha=0.7, label=label, linewidths=0)
    if len(np.unique(labels)) > 1:
        figure.legend(loc='outside upper center', ncols=3, markerscale=2)
    names = [f'{"component" if method == "pca" else "t-SNE"} {i + 1}' for i in range(n_dimensions)]
    axes.set(**dict(zip(['xlabel', 'ylabel', 'zlabel'], names, strict=False)))
    return figure


def _chart(xlabel, ylabel):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIDE, SIDE), layout='constrained')
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    return figure, axes
