# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write the evaluation of a model as one self-contained web page."""

import base64
import io
from pathlib import Path

import numpy as np
from astropy.time import Time
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from astro_morph import plotting
from astro_morph.catalog.flags import FLAGS, decode_flags
from astro_morph.cutouts import as_samples, catalog_of, holds_images
from astro_morph.evaluation.evaluation import (
    evaluate_probabilities,
    read_groups,
    read_true_classes,
    with_columns,
)
from astro_morph.images.pictures import data_uris
from astro_morph.prediction.framing import fetch_framed
from astro_morph.prediction.predict import predict, request
from astro_morph.utils.files import atomic_file, check_new

__all__ = ['write_report']

# Misclassifications on the page, which keep it below a few megabytes.
MOST_MISTAKES = 48

# Columns of the catalogue shown for each misclassification: the first ones, which identify it.
MOST_COLUMNS = 20

# Metrics, and their descriptions on the page.
METRICS = {
    'accuracy': 'fraction of galaxies with the right class',
    'balanced_accuracy': 'mean of this fraction over the classes, so that rare ones count as much',
    'roc_auc': 'mean area under the receiver operating characteristic: 1 is perfect, 0.5 is chance',
    'calibration_error': 'mean difference between confidence and accuracy: 0 is perfect',
    'brier_score': 'mean squared error of the probabilities, from 0 to 2: smaller is better',
    'coverage': 'fraction of the 90 % sets of classes that contain the true class: 0.9 is nominal',
    'set_size': 'mean number of classes in a set',
}


def write_report(
    model,
    X,
    path,
    y=None,
    *,
    label_column='morphology',
    source='auto',
    by=None,
    evaluation=None,
    overwrite=False,
    bar=None,
):
    """
    Evaluate a model on labelled galaxies, and write the result as a web page.

    The page is one file that loads nothing from elsewhere. It has metrics with confidence
    intervals, charts, the most confident misclassifications with their images, and the properties
    of the galaxies and the model.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.run_batches`.
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`; those without a label are omitted.
    path : path-like
        The HTML file.
    y : array_like, shape (n,), default=None
        The true classes; by default those in the column ``label_column``.
    label_column : str, default='morphology'
        Column with the true classes.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Source of the cutouts of a catalogue.
    by : str or sequence of str, default=None
        Columns of the catalogue by whose bins or kinds the page shows the evaluation too; those of
        ``evaluation`` if None.
    evaluation : `~astro_morph.evaluation.Evaluation`, default=None
        The evaluation of these samples, if it is there; then nothing is predicted, and the page has
        no map of the features and no flags.
    overwrite : bool, default=False
        Whether to replace an existing file.
    bar : progress bar, default=None
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    evaluation : `~astro_morph.evaluation.Evaluation`
        The evaluation that the page shows.

    Raises
    ------
    ValueError
        If no galaxy has a label, or none with a label has an image, or no label is a class of the
        model.
    FileExistsError
        If the file exists and ``overwrite`` is false.

    Examples
    --------
    >>> import tempfile
    >>> from astro_morph import MorphologyClassifier
    >>> from astro_morph.evaluation.report import write_report
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, kinds=['edge_on', 'round'])
    >>> train, test = survey.catalogue[::2], survey.catalogue[1::2]
    >>> classifier = MorphologyClassifier(survey, size=32, encoder='random', verbose=0)
    >>> model = classifier.fit(train).model_
    >>> path = f'{tempfile.mkdtemp()}/report.html'
    >>> write_report(model, test, path, source=survey)
    <Evaluation: 20 galaxies of 2 classes, accuracy ...>
    """
    check_new(path, overwrite=overwrite)
    X = as_samples(X)
    labels, is_labelled = read_true_classes(X, y, label_column, model.spec.classes)
    rows = np.flatnonzero(is_labelled)
    if bar is not None:
        bar.reset(total=len(rows))
    if evaluation is not None:
        _check_rows(evaluation, labels, rows)
        by = by or evaluation.by
    by = read_groups(X, by)
    features = flags = None
    statuses = [('ok', len(rows))]
    if evaluation is None:
        predictions = predict(model, X[is_labelled], source=source, bar=bar, with_features=True)
        evaluation = evaluate_probabilities(model.spec, predictions.probabilities, labels, rows)
        has_image = np.isin(rows, evaluation.rows)
        flags, features = predictions.all_flags[has_image], predictions.features[has_image]
        statuses = _count_statuses(predictions.status)
    elif evaluation.n_missing:
        statuses = [('ok', len(evaluation.true)), ('no image', evaluation.n_missing)]
    evaluation = with_columns(evaluation, X, by)
    page = _template().render(
        evaluation=evaluation,
        summary=[tuple(row) for row in evaluation.summary()],
        explanations=METRICS,
        charts=_charts(evaluation, features),
        n_rows=len(X),
        n_labelled=len(rows),
        classes=_count_classes(evaluation),
        groups=[(name, evaluation.groups(name)) for name in by],
        statuses=statuses,
        flags=None if flags is None else list(_count_flags(flags, evaluation.is_right)),
        n_wrong=int(np.sum(~evaluation.is_right)),
        mistakes=list(_mistakes(model.spec, evaluation, flags, X, source)),
        settings=_settings(model.spec),
        cleaning=model.spec.preprocessing or {},
        version=model.spec.version,
        written=Time.now().isot[:16].replace('T', ' '),
    )
    with atomic_file(path, overwrite=overwrite) as aside:
        aside.write_text(page, encoding='utf-8')
    return evaluation


def _template():
    # Text from a catalogue is escaped, so that it can't become code of the page.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['number'] = lambda x: '-' if np.isnan(x) else f'{x:.3f}'
    return environment.get_template('report.html')


def _charts(evaluation, features):
    """Yield the title, the caption and the picture of each chart."""
    yield (
        'Confusion matrix',
        'Rows are true classes, columns predicted ones. Right predictions are on the diagonal.',
        _as_svg(plotting.confusion(evaluation)),
    )
    if np.isfinite(evaluation.roc_auc):
        yield (
            'Receiver operating characteristic',
            'A lower threshold on the probability of a class finds more of its galaxies, but also '
            'more of others. The closer a curve is to the upper left corner, the better.',
            _as_svg(plotting.roc(evaluation)),
        )
    yield (
        'Reliability diagram',
        'Of the predictions with a confidence of 0.8, four in five should be right. Above the '
        'dotted line the model is underconfident, below it overconfident.',
        _as_svg(plotting.reliability(evaluation)),
    )
    for name in evaluation.by:
        yield (
            f'By {name}',
            'Metrics of each bin or kind of galaxies, with 95 % intervals. In brackets is the '
            'number of galaxies.',
            _as_svg(plotting.groups(evaluation, name)),
        )
    if features is not None and min(features.shape) > 2:
        yield (
            'Feature map',
            'Galaxies with similar features are close together. Colours are the true classes.',
            _as_svg(plotting.feature_map(features, evaluation.true)),
        )


def _check_rows(evaluation, labels, rows):
    """Check that an evaluation is that of these samples."""
    n = len(evaluation.true) + evaluation.n_missing
    is_same = (
        evaluation.rows is not None and n == len(rows) and np.isin(evaluation.rows, rows).all()
    )
    if not is_same or (labels[evaluation.rows] != evaluation.true).any():
        msg = (
            f'evaluation is of {n} labelled rows, expected one of the {len(rows)} in X with the '
            'same classes; pass what evaluate returned for X, or leave it out'
        )
        raise ValueError(msg)


def _as_svg(figure):
    file = io.BytesIO()
    figure.savefig(file, format='svg', transparent=True, metadata={'Date': None})
    return f'data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}'


def _count_classes(evaluation):
    """Return the metrics of each class, and the number of its predictions."""
    table = evaluation.to_table()
    table['n_predicted'] = evaluation.confusion.sum(axis=0)
    return table


def _count_statuses(status):
    names, counts = np.unique(status, return_counts=True)
    order = np.argsort(-counts, kind='stable')
    return list(zip(names[order].tolist(), counts[order].tolist(), strict=True))


def _count_flags(flags, is_right):
    """Yield each flag that is set, the number of galaxies with it, and their accuracy."""
    for flag in FLAGS:
        is_set = (flags & flag.bit) > 0
        if is_set.any():
            yield flag, int(np.sum(is_set)), float(np.mean(is_right[is_set]))


def _mistakes(spec, evaluation, flags, X, source):
    """Yield the most confident misclassifications, as the page shows them."""
    worst = evaluation.worst(MOST_MISTAKES)
    if len(worst) == 0:
        return
    place = np.searchsorted(evaluation.rows, worst['row'])
    for record, picture, facts, names, probabilities in zip(
        worst,
        _pictures(spec, X, worst['row'], source),
        _facts(X, worst['row']),
        [[]] * len(worst) if flags is None else decode_flags(flags[place]),
        evaluation.probabilities[place],
        strict=True,
    ):
        ranked = np.argsort(-probabilities, kind='stable')
        yield {
            **dict(zip(record.colnames, record, strict=True)),
            'picture': picture,
            'facts': facts,
            'flags': names,
            'probabilities': [(evaluation.classes[k], probabilities[k]) for k in ranked],
        }


def _pictures(spec, X, rows, source):
    """Return the pictures of some rows; None for plain features."""
    if not holds_images(X):
        return [None] * len(rows)
    return data_uris(fetch_framed(X[rows], **request(spec, source)))


def _facts(X, rows):
    """Return names and formatted values of the catalogue columns of some rows."""
    table = catalog_of(X) if holds_images(X) else None
    if table is None:
        return [[]] * len(rows)
    table = table[rows]
    columns = [column for column in table.itercols() if len(column.shape) == 1][:MOST_COLUMNS]
    names = [
        f'{column.info.name} [{column.info.unit}]' if column.info.unit else column.info.name
        for column in columns
    ]
    texts = [list(column.info.iter_str_vals()) for column in columns]
    return [
        [(name, text[i]) for name, text in zip(names, texts, strict=True)] for i in range(len(rows))
    ]


def _settings(spec):
    """Return the properties of a model by name, as the page shows them."""
    settings = {'Classes': ', '.join(map(str, spec.classes))}
    if spec.bands:
        settings |= {
            'Images': 'linear in flux' if spec.kind == 'flux' else 'pictures, from 0 to 255',
            'Bands': ', '.join(spec.bands),
            'Size': f'{spec.size} x {spec.size} pixels',
            'Network': spec.architecture,
            'Views averaged': spec.views,
        }
    if spec.framing:
        settings['Field of view'] = spec.framing
    elif spec.pixel_scale:
        settings['Pixel scale'] = f'{spec.pixel_scale:.4g} arcsec'
    return settings | {
        'Held-out galaxies for the sets': len(spec.conformity),
        'Identifier': spec.identifier,
        'Made by': f'astro_morph {spec.version}',
    }
