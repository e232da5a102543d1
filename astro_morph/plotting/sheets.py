# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures of cutouts, of what was predicted for them, and of how that was learnt."""

import math

import numpy as np

from astro_morph.catalog.flags import decode_flags
from astro_morph.images.pictures import origin, pictures, rgb, shown_bands
from astro_morph.plotting.charts import confusion, feature_map, reliability, roc

__all__ = [
    'augmentations',
    'confusion',
    'cutouts',
    'feature_map',
    'history',
    'mistakes',
    'neighbors',
    'preprocessing',
    'reconstructions',
    'reliability',
    'rgb',
    'roc',
]

# Side of one cutout in the figure, in inches.
PANEL = 1.45

# Galaxies whose neighbours make a figure that one can take in.
N_LINES = 8

# Colours of sky, galaxy and other sources.
SEGMENT_COLOURS = ('0.9', 'tab:blue', 'tab:orange')

# What a history may tell of an epoch, and what is written above its curve.
CURVES = {
    'loss': 'loss',
    'accuracy': 'accuracy on views',
    'neighbor_accuracy': 'neighbours of the same class',
    'feature_scatter': 'scatter of the features',
    'effective_rank': 'effective rank of the features',
    'learning_rate': 'learning rate',
}


def cutouts(cutouts, *, titles=None, is_right=None, n_columns=8):
    """
    Draw a sheet of cutouts.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, of pictures or of flux with the bands from blue to red.
    titles : sequence of str, optional
        What stands above each; the status by default, where it is not ok.
    is_right : sequence of bool, optional
        Titles are drawn in red where it is false.
    n_columns : int, optional
        Cutouts in a row of the sheet.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The sheet.

    Raises
    ------
    ValueError
        If there is no cutout.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4)
    >>> cutouts = survey.fetch(survey.catalogue)
    >>> figure = plotting.cutouts(cutouts, titles=survey.catalogue['morphology'])
    >>> len(figure.axes)
    4
    """
    from matplotlib.figure import Figure

    if len(cutouts) == 0:
        msg = 'cutouts is empty: there is nothing to draw'
        raise ValueError(msg)
    n_columns = min(n_columns, len(cutouts))
    n_rows = math.ceil(len(cutouts) / n_columns)
    figure = Figure(figsize=(PANEL * n_columns, 1.2 * PANEL * n_rows), layout='constrained')
    if titles is None:
        titles = np.where(cutouts.is_ok, '', cutouts.status)
    colours = ['black'] * len(cutouts) if is_right is None else np.where(is_right, 'black', 'red')
    for number, picture in enumerate(pictures(cutouts)):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        axes.imshow(picture, origin=origin(cutouts))
        axes.set_title(titles[number], fontsize=7, color=colours[number], pad=3)
        axes.set_axis_off()
    return figure


def mistakes(evaluation, images, *, n=24):
    """
    Draw the mistakes of which a model is surest.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        The comparison with known classes.
    images : `~astro_morph.CutoutSet`
        The cutouts of all rows that were evaluated.
    n : int, optional
        How many to draw.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The sheet, with the predicted class, its probability, and the true class below.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph import CutoutSet, plotting
    >>> from astro_morph.evaluation import Evaluation
    >>> evaluation = Evaluation(['E', 'S'], ['E', 'E'], [[0.9, 0.1], [0.4, 0.6]])
    >>> cutouts = CutoutSet(np.random.default_rng(0).normal(size=(2, 1, 16, 16)), bands='r')
    >>> figure = plotting.mistakes(evaluation, cutouts)
    >>> figure.axes[0].get_title().splitlines()
    ['S 0.60', 'not E']
    """
    worst = evaluation.worst(n)
    titles = [f'{row["predicted"]} {row["confidence"]:.2f}\nnot {row["true"]}' for row in worst]
    return cutouts(images[worst['row']], titles=titles)


def neighbors(images, rows, *, of=None):
    """
    Draw galaxies beside those that look most like them.

    Parameters
    ----------
    images : `~astro_morph.CutoutSet`
        The cutouts of all galaxies.
    rows : ndarray of int, shape (n, n_neighbors)
        Their neighbours, as `astro_morph.MorphologyEncoder.neighbors` gives them.
    of : sequence of int, optional
        Whose neighbours to draw, by row number; by default those of the first eight that have some.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A line for each: the galaxy, then its neighbours, the nearest first.

    Raises
    ------
    ValueError
        If a galaxy has no neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph import plotting
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4)
    >>> images = survey.fetch(survey.catalogue)
    >>> figure = plotting.neighbors(images, np.array([[1, 2], [0, 2], [0, 3], [2, 1]]), of=[0, 3])
    >>> [axes.get_title() for axes in figure.axes]
    ['row 0', '1', '2', 'row 3', '2', '1']
    """
    rows = np.asarray(rows)
    has_some = (rows >= 0).all(axis=1)
    of = np.flatnonzero(has_some)[:N_LINES] if of is None else np.asarray(of)
    if len(of) == 0 or not has_some[of].all():
        msg = f'of={of.tolist()} names galaxies without neighbours: they have no image'
        raise ValueError(msg)
    drawn = np.column_stack([of, rows[of]])
    titles = [
        f'row {n}' if column == 0 else str(n) for line in drawn for column, n in enumerate(line)
    ]
    return cutouts(images[drawn.ravel()], titles=titles, n_columns=drawn.shape[1])


def augmentations(cutouts, *, contrast=False, n_views=7, survey=None, random_state=0):
    """
    Draw the views that a network trains on.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        A few cutouts, one row of the sheet each; those without an image are left out.
    contrast : bool, optional
        Whether to show the views that pretraining contrasts, instead of those from which classes
        are learnt.
    n_views : int, optional
        Views of each cutout, beside the cutout as the network sees it otherwise.
    survey : `~astro_morph.surveys.Survey`, optional
        Whose images they are; its seeing is broadened.
    random_state : int, optional
        Seed of the views.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The sheet, in the stretch of the network.

    Raises
    ------
    ValueError
        If there is no cutout with an image, or they are not square.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> sky = SimulatedSurvey(n_galaxies=3)
    >>> figure = plotting.augmentations(sky.fetch(sky.catalogue), survey=sky.survey, n_views=4)
    >>> len(figure.axes)
    15
    """
    import torch
    from matplotlib.figure import Figure

    from astro_morph.learning.fitting import seeded, usable
    from astro_morph.learning.training.batches import Batches, training_images
    from astro_morph.learning.training.views import CLASSIFICATION, CONTRAST, training_views
    from astro_morph.models.building import describe, network_for

    cutouts = usable(cutouts)
    with seeded(random_state) as seed:
        spec = describe(cutouts, architecture='resnet18', views=1)
        network = network_for(cutouts, spec)
    draw = training_views(network, spec, CONTRAST if contrast else CLASSIFICATION, survey=survey)
    batches = Batches(training_images(network, cutouts), torch.device('cpu'))
    images = batches.take(torch.arange(len(cutouts)))
    generator = torch.Generator().manual_seed(seed)
    plain = network.stretch(torch.from_numpy(cutouts.images.copy()))
    columns = [plain, *(draw(images, generator) for _ in range(n_views))]
    figure = Figure(figsize=(PANEL * len(columns), PANEL * len(cutouts)), layout='constrained')
    for column, stretched in enumerate(columns):
        for row, picture in enumerate(_shown(stretched, cutouts)):
            axes = figure.add_subplot(len(cutouts), len(columns), row * len(columns) + column + 1)
            axes.imshow(picture, origin=origin(cutouts))
            axes.set_axis_off()
    figure.axes[0].set_title('cutout', fontsize=7, pad=3)
    figure.axes[len(cutouts)].set_title('views', fontsize=7, pad=3)
    return figure


def reconstructions(encoder, cutouts):
    """
    Draw cutouts, and what an auto-encoder draws again from their features.

    Parameters
    ----------
    encoder : `~astro_morph.MorphologyEncoder`
        Fitted with the method ``'autoencoder'``, and not loaded from a file, which lacks the
        decoder.
    cutouts : `~astro_morph.CutoutSet`
        A few cutouts, one column of the sheet each; those without an image are left out.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Two rows: the cutouts in the stretch of the network, and their reconstructions.

    Raises
    ------
    ValueError
        If the encoder has no decoder, or there is no cutout with an image.

    Examples
    --------
    >>> from astro_morph import MorphologyEncoder, plotting
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=8)
    >>> cutouts = survey.fetch(survey.catalogue, size=32)
    >>> encoder = MorphologyEncoder('autoencoder', epochs=1, verbose=0).fit(cutouts)
    >>> figure = plotting.reconstructions(encoder, cutouts[:4])
    >>> len(figure.axes)
    8
    """
    import torch
    from matplotlib.figure import Figure

    from astro_morph.learning.fitting import usable
    from astro_morph.prediction.predict import prepare

    if getattr(encoder, 'decoder_', None) is None:
        msg = "encoder must have been fitted with method='autoencoder': it has no decoder"
        raise ValueError(msg)
    model = encoder.model_
    clean = prepare(model.spec, usable(cutouts))
    with torch.inference_mode():
        stretched = model.network.stretched(torch.from_numpy(clean.images).to(model.device))
        drawn = encoder.decoder_(model.network.encoder(stretched))
    n = len(clean)
    figure = Figure(figsize=(PANEL * n, 2 * PANEL), layout='constrained')
    for row, images in enumerate([stretched, drawn]):
        for column, picture in enumerate(_shown(images, clean)):
            axes = figure.add_subplot(2, n, row * n + column + 1)
            axes.imshow(picture, origin=origin(clean))
            axes.set_axis_off()
    figure.axes[0].set_title('cutout', fontsize=7, pad=3)
    figure.axes[n].set_title('reconstruction', fontsize=7, pad=3)
    return figure


def history(history):
    """
    Draw how a training went.

    Parameters
    ----------
    history : list of dict
        A record an epoch: the ``history_`` of an estimator.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A curve for each thing that was recorded, over the epochs.

    Raises
    ------
    ValueError
        If there is no record.

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
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not history:
        msg = 'history is empty: nothing was trained; a linear head on frozen features has none'
        raise ValueError(msg)
    names = [name for name in CURVES if any(name in record for record in history)]
    n_columns = math.ceil(len(names) / 2)
    figure = Figure(figsize=(3 * n_columns, 4.4), layout='constrained')
    panels = figure.subplots(2, n_columns, sharex=True, squeeze=False)
    for name, axes in zip(names, panels.flat, strict=False):
        # Some things are looked at every few epochs only.
        known = [record for record in history if name in record]
        epochs, values = ([record[key] for record in known] for key in ('epoch', name))
        axes.plot(epochs, values, '-' if len(known) > 1 else 'o')
        axes.set_title(CURVES[name], fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels.flat[len(names) :]:
        axes.remove()
    figure.supxlabel('epoch', fontsize=9)
    return figure


def preprocessing(cutouts, preprocessor=None):
    """
    Draw cutouts as they were, what was found in them, and as they are after preprocessing.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        A few cutouts in flux, one column of the sheet each.
    preprocessor : `~astro_morph.photometry.Preprocessor`, optional
        With the settings to show; by default with its defaults.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Three rows: before; the galaxy in blue and other sources in orange; and after, with the
        flags.

    Raises
    ------
    ValueError
        If there is no cutout, or they are pictures.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4)
    >>> figure = plotting.preprocessing(survey.fetch(survey.catalogue))
    >>> len(figure.axes)
    12
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    from astro_morph.photometry import Preprocessor

    if len(cutouts) == 0 or cutouts.kind != 'flux':
        msg = f'cutouts must be some cutouts in flux, got {cutouts}'
        raise ValueError(msg)
    preprocessor = preprocessor or Preprocessor()
    clean = preprocessor.transform(cutouts)
    segments = preprocessor.segment(cutouts).clip(max=2)
    colours = ListedColormap(SEGMENT_COLOURS)
    n = len(cutouts)
    figure = Figure(figsize=(PANEL * n, 3.4 * PANEL), layout='constrained')
    for i in range(n):
        # Together, so that one brightness means one flux.
        before, after = rgb(np.stack([cutouts.images[i], clean.images[i]]))
        for row, (image, title) in enumerate(
            [
                (before, '' if cutouts.is_ok[i] else cutouts.status[i]),
                (segments[i], ''),
                (after, _say_flags(clean.flags[i])),
            ]
        ):
            axes = figure.add_subplot(3, n, row * n + i + 1)
            axes.imshow(image, origin='lower', cmap=colours, vmin=0, vmax=2)
            axes.set_title(title, fontsize=5, pad=2)
            axes.set_axis_off()
    return figure


def _say_flags(flags):
    return '\n'.join(decode_flags(flags))


def _shown(stretched, cutouts):
    """Turn what the encoder sees of some cutouts into colours."""
    colours = stretched.cpu().numpy().clip(0, 1)[:, shown_bands(cutouts)]
    return (255 * colours).astype(np.uint8).transpose(0, 2, 3, 1)
