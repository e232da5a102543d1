# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Start to label a catalogue: fetch its images, compute their features, open the page."""

from astro_morph.cutouts import catalog_of
from astro_morph.labelling.label_table import LabelTable
from astro_morph.labelling.session import LabellingSession
from astro_morph.utils.messages import as_written

__all__ = ['label', 'start']


def label(X, path, *, classifier=None, classes=None, criterion='diverse', port=0, show=True):
    """
    Label galaxies by eye, on a web page that only this machine can open.

    The features of all galaxies are computed before the address of the page is printed. Ctrl-C
    ends the labelling.

    Parameters
    ----------
    X : Table, SkyCoord or CutoutSet
        The catalogue, in which some rows may have a label.
    path : path-like
        File of the labelled catalogue, to which each label is written at once. If it exists,
        labelling continues from it. The file of its name with ``.journal`` keeps every label.
    classifier : `~astro_morph.MorphologyClassifier`, default=None
        Its parameters are used: the source of the images, the column of the labels, and the
        encoder that computes the features. It is not fitted. By default a classifier with default
        parameters.
    classes, criterion
        As in `LabellingSession`.
    port : int, default=0
        Port of the page; 0 for any free one.
    show : bool, default=True
        Whether to open the page in the browser.

    Returns
    -------
    table : `~astropy.table.Table`
        The catalogue with the labels.

    Raises
    ------
    ValueError
        As from `LabellingSession`, or if no row has an image, the encoder is ``'random'``, or the
        port cannot be used.
    ModuleNotFoundError
        If Flask is not installed.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.labelling import label
    >>> catalog = Table({'ra': [180.0, 180.1], 'dec': [5.0, 5.1]})
    >>> table = label(
    ...     catalog, 'labelled.ecsv', classes=['spiral', 'elliptical']
    ... )  # doctest: +SKIP
    """
    from astro_morph.labelling.page import check_flask, listen, serve

    # Before the images are fetched.
    check_flask()
    listen(port).close()
    session = start(X, path, classifier=classifier, classes=classes, criterion=criterion)
    serve(session, port=port, show=show)
    return session.table


def start(X, path, *, classifier=None, classes=None, criterion='diverse'):
    """
    Start a session: fetch the images and compute the features.

    Parameters
    ----------
    X, path, classifier, classes, criterion
        As in `label`.

    Returns
    -------
    session : `LabellingSession`
        The session.

    Raises
    ------
    ValueError
        As from `label`.

    Examples
    --------
    >>> from astro_morph import MorphologyClassifier
    >>> from astro_morph.labelling import start
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=6)
    >>> path = getfixture('tmp_path') / 'labelled.ecsv'
    >>> session = start(
    ...     survey.catalogue['ra', 'dec'],
    ...     path,
    ...     classifier=MorphologyClassifier(survey, size=32),
    ...     classes=['disc', 'spheroid'],
    ... )
    >>> session.n_left
    6
    """
    from astro_morph.estimators.classifier import MorphologyClassifier
    from astro_morph.estimators.starting import starting_encoder
    from astro_morph.learning.fitting import usable
    from astro_morph.prediction.framing import fetch_framed

    classifier = classifier or MorphologyClassifier()
    if classifier.encoder == 'random':
        msg = (
            f"{as_written('encoder', 'random')} can't find galaxies that look alike; use another "
            'encoder'
        )
        raise ValueError(msg)
    column = classifier.label_column
    # Before the images are fetched: a file that can't be written is an error.
    LabelTable(catalog_of(X), path, classes=classes, label_column=column)
    wanted = {name: getattr(classifier, name) for name in ('source', 'size', 'bands')}
    cutouts = fetch_framed(X, **wanted)
    usable(cutouts)
    encoder = starting_encoder(classifier, cutouts).adapt(cutouts)
    return LabellingSession(
        cutouts,
        encoder.transform(cutouts),
        path,
        classes=classes,
        label_column=column,
        criterion=criterion,
        random_state=classifier.random_state or 0,
    )
