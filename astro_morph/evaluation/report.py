# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One web page about how well a model does, which needs nothing but itself."""

import base64
import io
from pathlib import Path

import numpy as np
from astropy.time import Time
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from astro_morph import plotting
from astro_morph.catalog.flags import FLAGS, decode_flags
from astro_morph.cutouts import as_cutouts, catalog_of, holds_images
from astro_morph.evaluation.evaluation import compare, known_classes
from astro_morph.images.pictures import data_uris
from astro_morph.prediction.predict import predict, request

__all__ = ['write_report']

# Mistakes on the page: more than anybody looks at, and the page stays below a few megabytes.
MOST_MISTAKES = 48

# Columns of the catalogue beside a mistake: those that tell which galaxy it is come first.
MOST_COLUMNS = 20

FIGURES = {
    'accuracy': 'share of galaxies whose class is right',
    'balanced_accuracy': 'the mean of this share over the classes, so that rare ones count as much',
    'roc_auc': 'mean area under the receiver operating characteristic: 1 is perfect, 0.5 is chance',
    'calibration_error': 'mean difference of confidence and accuracy: 0 is perfect',
    'brier_score': 'mean squared error of the probabilities, from 0 to 2: smaller is better',
    'coverage': 'share of the sets of classes that hold the true one, to be compared with 0.9',
    'set_size': 'mean number of classes in such a set',
}


def write_report(model, X, path, y=None, *, label_column='morphology', source='auto', bar=None):
    """
    Compare a model's predictions with known classes, and write what is found as a web page.

    The page is one file that fetches nothing: figures with intervals, charts, what the galaxies
    and the model are, and the mistakes of which the model is surest, with their images.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.compute`.
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`; those without a label are left out.
    path : path-like
        The HTML file; one that is there is replaced.
    y : array_like, shape (n,), optional
        The true classes; by default those of the column ``label_column``.
    label_column : str, optional
        Column of the true classes.
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from.
    bar : progress bar, optional
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    evaluation : `~astro_morph.evaluation.Evaluation`
        The comparison that the page shows.

    Raises
    ------
    ValueError
        If there is no label, or no image of a galaxy that has one.

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
    labels, is_labelled = known_classes(X, y, label_column)
    rows = np.flatnonzero(is_labelled)
    if bar is not None:
        bar.reset(total=len(rows))
    predictions = predict(model, X[is_labelled], source=source, bar=bar, with_features=True)
    evaluation = compare(model.spec, predictions.probabilities, labels, rows)
    is_compared = np.isin(rows, evaluation.rows)
    flags = predictions.all_flags[is_compared]
    page = _template().render(
        evaluation=evaluation,
        summary=[tuple(row) for row in evaluation.summary()],
        explanations=FIGURES,
        charts=_charts(evaluation, predictions.features[is_compared]),
        n_rows=len(X),
        n_labelled=len(rows),
        classes=_count_classes(evaluation),
        statuses=_count_statuses(predictions.status),
        flags=list(_count_flags(flags, evaluation.is_right)),
        n_wrong=int(np.sum(~evaluation.is_right)),
        mistakes=list(_mistakes(model.spec, evaluation, flags, X, source)),
        settings=_settings(model.spec),
        cleaning=model.spec.preprocessing or {},
        version=model.spec.version,
        written=Time.now().isot[:16].replace('T', ' '),
    )
    Path(path).write_text(page, encoding='utf-8')
    return evaluation


def _template():
    # What stands in a catalogue is text, and never becomes part of the page's code.
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
    """Draw the charts: a title, what to look for, and the picture."""
    yield (
        'Which classes are taken for which',
        'Rows are true, columns predicted. All galaxies would be on the diagonal.',
        _as_svg(plotting.confusion(evaluation)),
    )
    if np.isfinite(evaluation.roc_auc):
        yield (
            'How well the classes are told apart',
            'As more galaxies are taken for a class, more of those of it are found, and more of '
            'the others by mistake. The closer to the upper left corner, the better.',
            _as_svg(plotting.roc(evaluation)),
        )
    yield (
        'Whether confidence means what it says',
        'Of predictions with a confidence of 0.8, four in five should be right. Above the dotted '
        'line the model is right more often than it says, below it less often.',
        _as_svg(plotting.reliability(evaluation)),
    )
    if min(features.shape) > 2:
        yield (
            'What the model sees',
            'Galaxies with similar features lie together. Colours are the true classes.',
            _as_svg(plotting.feature_map(features, evaluation.true)),
        )


def _as_svg(figure):
    file = io.BytesIO()
    figure.savefig(file, format='svg', transparent=True, metadata={'Date': None})
    return f'data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}'


def _count_classes(evaluation):
    """Give the figures of each class, and how often it was predicted."""
    table = evaluation.to_table()
    table['n_predicted'] = evaluation.confusion.sum(axis=0)
    return table


def _count_statuses(status):
    names, counts = np.unique(status, return_counts=True)
    order = np.argsort(-counts, kind='stable')
    return list(zip(names[order].tolist(), counts[order].tolist(), strict=True))


def _count_flags(flags, is_right):
    """Give each flag that is set, how often, and how often the class is right then."""
    for flag in FLAGS:
        is_set = (flags & flag.bit) > 0
        if is_set.any():
            yield flag, int(np.sum(is_set)), float(np.mean(is_right[is_set]))


def _mistakes(spec, evaluation, flags, X, source):
    """Describe the mistakes of which the model is surest."""
    worst = evaluation.worst(MOST_MISTAKES)
    if len(worst) == 0:
        return
    place = np.searchsorted(evaluation.rows, worst['row'])
    for record, picture, facts, names, probabilities in zip(
        worst,
        _pictures(spec, X, worst['row'], source),
        _facts(X, worst['row']),
        decode_flags(flags[place]),
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
    """Give the pictures of some rows; none of plain features."""
    if not holds_images(X):
        return [None] * len(rows)
    return data_uris(as_cutouts(X[rows], **request(spec, source)))


def _facts(X, rows):
    """Give what the catalogue says of some rows: names and values, as a table shows them."""
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
    """Say in words what a model takes and how it was made."""
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
        'Galaxies held out for the sets': len(spec.conformity),
        'Identifier': spec.identifier,
        'Made by': f'astro_morph {spec.version}',
    }
