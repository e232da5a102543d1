# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Draw sheets of cutouts: with mistakes, neighbours, augmented views, before and after cleaning."""

import math

import numpy as np

from astro_morph.catalog.flags import decode_flags
from astro_morph.images.orientation import as_seen
from astro_morph.images.pictures import pictures, shown_bands

__all__ = [
    'augmentations',
    'cutouts',
    'mistakes',
    'neighbors',
    'preprocessing',
    'reconstructions',
]

# Side of one cutout in the figure, in inches.
PANEL = 1.45

# Galaxies whose neighbours are drawn by default.
N_LINES = 8

# Colours of sky, galaxy and neighbours.
SEGMENT_COLOURS = ('0.9', 'tab:blue', 'tab:orange')


def cutouts(cutouts, *, titles=None, is_right=None, n_columns=8):
    """
    Draw a sheet of cutouts.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, pictures or flux, the latter with the bands from blue to red.
    titles : sequence of str, default=None
        Title of each cutout; by default its status, if it is not ok.
    is_right : sequence of bool, default=None
        Whether each prediction is right; the titles of wrong ones are red.
    n_columns : int, default=8
        Number of columns of the sheet.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The sheet.

    Raises
    ------
    ValueError
        If there are no cutouts.

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
    if len(cutouts) == 0:
        msg = 'cutouts is empty: there is nothing to draw'
        raise ValueError(msg)
    n_columns = min(n_columns, len(cutouts))
    if titles is None:
        titles = np.where(cutouts.is_ok, '', cutouts.status)
    figure = _draw(pictures(cutouts), n_columns, titles, height=1.2)
    if is_right is not None:
        for axes, right in zip(figure.axes, is_right, strict=False):
            axes.title.set_color('black' if right else 'red')
    return figure


def mistakes(evaluation, images, *, n=24):
    """
    Draw the most confident misclassifications.

    Parameters
    ----------
    evaluation : `~astro_morph.evaluation.Evaluation`
        Predictions and true classes.
    images : `~astro_morph.CutoutSet`
        The cutouts of all rows that were evaluated.
    n : int, default=24
        Number of cutouts to draw.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The sheet; titles are the predicted class, its probability, and the true class.

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
    Draw galaxies beside those most similar to them.

    Parameters
    ----------
    images : `~astro_morph.CutoutSet`
        The cutouts of all galaxies.
    rows : ndarray of int, shape (n, n_neighbors)
        Row numbers of their neighbours, from `astro_morph.MorphologyEncoder.neighbors`.
    of : sequence of int, default=None
        Row numbers of the galaxies to draw; by default the first eight that have neighbours.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A line for each galaxy, followed by its neighbours, nearest first.

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
        without = of[~has_some[of]][:10].tolist()
        msg = f'of has the rows {without} without neighbours; name galaxies with an image'
        raise ValueError(msg)
    drawn = np.column_stack([of, rows[of]])
    titles = [
        f'row {n}' if column == 0 else str(n) for line in drawn for column, n in enumerate(line)
    ]
    return cutouts(images[drawn.ravel()], titles=titles, n_columns=drawn.shape[1])


def augmentations(cutouts, *, contrast=False, n_views=7, survey=None, random_state=0):
    """
    Draw the augmented views that a network is trained on.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        A few cutouts, one row of the sheet each; those without an image are omitted.
    contrast : bool, default=False
        Whether to draw the views of contrastive pretraining instead of those of classification.
    n_views : int, default=7
        Number of views beside each cutout.
    survey : `~astro_morph.surveys.Survey`, default=None
        The survey of the images, which sets by how much the seeing is broadened.
    random_state : int, default=0
        Seed of the views.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The sheet, with the intensity scaling of the network.

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

    from astro_morph.learning.fitting import seeded, usable
    from astro_morph.learning.training.batches import Batches, training_images
    from astro_morph.learning.training.views import CLASSIFICATION, CONTRAST, training_views
    from astro_morph.models.building import build_model

    cutouts = usable(cutouts)
    with seeded(random_state) as seed:
        model = build_model(cutouts, cutouts, architecture='resnet18', views=1)
    recipe = CONTRAST if contrast else CLASSIFICATION
    draw = training_views(model.network, model.spec, recipe, survey=survey)
    batches = Batches(training_images(model.network, cutouts), torch.device('cpu'))
    images = batches.take(torch.arange(len(cutouts)))
    generator = torch.Generator().manual_seed(seed)
    plain = model.network.stretch(torch.from_numpy(cutouts.images.copy()))
    columns = [plain, *(draw(images, generator) for _ in range(n_views))]
    panels = [picture for column in columns for picture in _shown(column, cutouts)]
    titles = np.full((len(columns), len(cutouts)), '', object)
    titles[:2, 0] = 'cutout', 'views'
    return _draw(panels, len(columns), titles.ravel(), order='F')


def reconstructions(encoder, cutouts):
    """
    Draw cutouts and their reconstructions by an autoencoder.

    Parameters
    ----------
    encoder : `~astro_morph.MorphologyEncoder`
        Fitted with the method ``'autoencoder'``. One loaded from a file has no decoder.
    cutouts : `~astro_morph.CutoutSet`
        A few cutouts, one column of the sheet each; those without an image are omitted.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Two rows: the cutouts, with the intensity scaling of the network, and their reconstructions.

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
    >>> encoder = MorphologyEncoder(method='autoencoder', epochs=1, verbose=0).fit(cutouts)
    >>> figure = plotting.reconstructions(encoder, cutouts[:4])
    >>> len(figure.axes)
    8
    """
    import torch

    from astro_morph.learning.fitting import usable
    from astro_morph.prediction.predict import prepare

    if getattr(encoder, 'decoder_', None) is None:
        msg = "encoder has no decoder; fit one with method='autoencoder', files do not hold it"
        raise ValueError(msg)
    model = encoder.model_
    clean = prepare(model.spec, usable(cutouts))
    with torch.inference_mode():
        stretched = model.network.stretched(torch.from_numpy(clean.images).to(model.device))
        decoded = encoder.decoder_(model.network.encoder(stretched))
    panels = [*_shown(stretched, clean), *_shown(decoded, clean)]
    n = len(clean)
    titles = np.full((2, n), '', object)
    titles[:, 0] = 'cutout', 'reconstruction'
    return _draw(panels, n, titles.ravel())


def preprocessing(cutouts, preprocessor=None):
    """
    Draw cutouts before and after cleaning, and their segments.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        A few cutouts in flux, one column of the sheet each.
    preprocessor : `~astro_morph.photometry.Preprocessor`, default=None
        The preprocessor; by default one with default parameters.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Three rows: the cutouts before cleaning; the galaxy in blue and its neighbours in orange;
        and the cutouts after cleaning, with their flags.

    Raises
    ------
    ValueError
        If there are no cutouts, or they are pictures.

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

    from astro_morph.photometry import Preprocessor

    if len(cutouts) == 0 or cutouts.kind != 'flux':
        msg = f'cutouts are {cutouts}, expected at least one cutout in flux'
        raise ValueError(msg)
    preprocessor = preprocessor or Preprocessor()
    clean = preprocessor.transform(cutouts)
    segments = preprocessor.segment(cutouts).clip(max=2)
    segments = as_seen(segments, cutouts.rotation, cutouts.parity)
    panels, titles = [], []
    for i in range(len(cutouts)):
        # Both in one scale, so that equal brightness means equal flux.
        pair = cutouts[[i, i]].replace(images=np.stack([cutouts.images[i], clean.images[i]]))
        before, after = pictures(pair)
        panels += [before, segments[i], after]
        status = '' if cutouts.is_ok[i] else cutouts.status[i]
        titles += [status, '', '\n'.join(decode_flags(clean.flags[i]))]
    colours = {'cmap': ListedColormap(SEGMENT_COLOURS), 'vmin': 0, 'vmax': 2}
    return _draw(panels, len(cutouts), titles, order='F', height=1.13, fontsize=5, **colours)


def _shown(stretched, cutouts):
    """Return the images that the encoder gets as colour pictures, as they are shown."""
    colours = stretched.cpu().numpy().clip(0, 1)[:, shown_bands(cutouts)]
    drawn = (255 * colours).astype(np.uint8).transpose(0, 2, 3, 1)
    return as_seen(drawn, cutouts.rotation, cutouts.parity)


def _draw(panels, n_columns, titles, *, order='C', height=1.0, fontsize=7, **image_options):
    """Draw pictures in a grid, by rows ('C') or columns ('F'); panels have a height per width."""
    from astro_morph.plotting.figures import Figure

    n_rows = math.ceil(len(panels) / n_columns)
    figure = Figure(figsize=(PANEL * n_columns, height * PANEL * n_rows), layout='constrained')
    numbers = 1 + np.arange(n_rows * n_columns).reshape(n_rows, n_columns).ravel(order)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(n_rows, n_columns, numbers[i])
        axes.imshow(panel, **image_options)
        # The names of classes are no formulas.
        axes.set_title(titles[i], fontsize=fontsize, pad=3, parse_math=False)
        axes.set_axis_off()
    return figure
