# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One ONNX file that takes raw images and gives logits, written with PyTorch, read without."""

import copy
import os
from pathlib import Path

import numpy as np

from astro_morph import prediction
from astro_morph.prediction import ModelSpec

__all__ = ['OnnxClassifier', 'export']

# Key of the file's metadata under which the model's specification stands.
METADATA_KEY = 'astro_morph'

OUTPUTS = ['logits', 'features', 'novelty']

# The exporter has given files that are right at one batch size and wrong at another
# (pytorch issue 169178): a file is checked at these before it is kept.
CHECKED_BATCH_SIZES = (1, 7, 64)

# Largest difference of a probability between PyTorch and the file.
TOLERANCE = 1e-4


def export(model, path, *, precision='float32'):
    """
    Write a classifier as one ONNX file, and keep it only if it gives the same answers.

    Parameters
    ----------
    model : `~astro_morph.model.TorchModel`
        The classifier.
    path : path
        The file.
    precision : {'float32'}, optional
        Precision of the weights.

    Raises
    ------
    ValueError
        If the precision is not known, or the model does not take images.
    RuntimeError
        If ONNX Runtime does not give what PyTorch gives.
    """
    if precision != 'float32':
        msg = f"precision must be 'float32', got {precision!r}"
        raise ValueError(msg)
    if not model.spec.bands:
        msg = 'only a classifier of images can be written as ONNX; this one takes plain features'
        raise ValueError(msg)
    # On the CPU, in full precision: a GPU may round its products.
    model = type(model)(model.spec, copy.deepcopy(model.network))
    aside = Path(f'{os.fspath(path)}.part')
    try:
        _write(model, aside)
        _verify(model, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


class OnnxModel:
    """
    A model that ONNX Runtime runs.

    Parameters
    ----------
    path : path
        A file that `export` wrote.

    Raises
    ------
    ValueError
        If the file is no ONNX model of this package.
    """

    def __init__(self, path):
        import onnxruntime

        if not os.path.exists(path):
            msg = f'there is no file {os.fspath(path)!r}'
            raise FileNotFoundError(msg)
        try:
            self._session = onnxruntime.InferenceSession(
                os.fspath(path), providers=onnxruntime.get_available_providers()
            )
        except Exception as error:
            msg = f'{os.fspath(path)!r} is not an ONNX file: {error}'
            raise ValueError(msg) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            msg = f'{os.fspath(path)!r} was not written by astro_morph: it lacks its metadata'
            raise ValueError(msg)
        self.spec = ModelSpec.from_json(metadata[METADATA_KEY])

    @property
    def n_features(self):
        """How many features an image has."""
        return self._session.get_outputs()[1].shape[1]

    def run(self, samples):
        """
        Turn a batch into logits, features and novelty.

        Parameters
        ----------
        samples : ndarray of float32, shape (n, band, y, x)
            Raw images.

        Returns
        -------
        logits, features, novelty : ndarray of float32
            Of shape (n, n_classes), (n, d) and (n,).
        """
        return tuple(self._session.run(OUTPUTS, {'images': samples}))


class OnnxClassifier:
    """
    Label galaxies with a model written by `MorphologyClassifier.to_onnx`, without PyTorch.

    Parameters
    ----------
    path : path
        The ONNX file.
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from, as for `MorphologyClassifier`.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The classes.

    See Also
    --------
    MorphologyClassifier : Trains and writes such models.

    Examples
    --------
    >>> import tempfile
    >>> from astro_morph import MorphologyClassifier, OnnxClassifier
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, random_state=0)
    >>> classifier = MorphologyClassifier(survey, strategy='linear', verbose=0)
    >>> path = f'{tempfile.mkdtemp()}/morphology.onnx'
    >>> classifier.fit(survey.catalogue).to_onnx(path)
    >>> bool((OnnxClassifier(path, survey).predict(survey.catalogue)
    ...       == classifier.predict(survey.catalogue)).all())
    True
    """

    def __init__(self, path, source='auto'):
        self.source = source
        self.model_ = OnnxModel(path)
        self.classes_ = np.array(self.model_.spec.classes)

    def predict(self, X):
        """
        Predict the class of each sample.

        Parameters
        ----------
        X : object
            Samples as `MorphologyClassifier` takes them.

        Returns
        -------
        classes : ndarray, shape (n,)
            A masked array, where rows without an image are masked, if there are any.
        """
        return prediction.most_probable(self.classes_, self.predict_proba(X))

    def predict_proba(self, X):
        """
        Predict the probability of each class.

        Parameters
        ----------
        X : object
            Samples as `MorphologyClassifier` takes them.

        Returns
        -------
        probabilities : ndarray, shape (n, n_classes)
            In the order of ``classes_``; NaN in the rows without an image.
        """
        return prediction.predict_proba(self.model_, X, source=self.source)[0]

    def predict_set(self, X, coverage=0.9):
        """
        Predict the classes that each sample may be of.

        Parameters
        ----------
        X : object
            Samples as `MorphologyClassifier` takes them.
        coverage : float, optional
            The share of galaxies whose set is to hold the true class.

        Returns
        -------
        sets : ndarray of bool, shape (n, n_classes)
            Whether each of ``classes_`` is in the set.
        """
        return prediction.predict_set(self.model_, X, coverage=coverage, source=self.source)

    def annotate(self, table, *, measures=False, prefix='morph_', overwrite=False):
        """
        Add the predictions to a catalogue.

        Parameters
        ----------
        table : object
            The catalogue, or other samples.
        measures : bool, optional
            Whether to add the classical measures of `astro_morph.measures.measure` too.
        prefix : str, optional
            What the names of the new columns begin with.
        overwrite : bool, optional
            Whether columns of these names may be replaced.

        Returns
        -------
        annotated : `~astropy.table.Table`
            A copy of the same class, length and order, with the new columns.
        """
        return prediction.annotate(
            self.model_,
            table,
            source=self.source,
            measures=measures,
            prefix=prefix,
            overwrite=overwrite,
        )


def _write(model, path):
    import onnx
    import torch

    spec = model.spec
    example = torch.zeros(2, len(spec.bands), spec.size, spec.size)
    program = torch.onnx.export(
        model.network,
        (example,),
        input_names=['images'],
        output_names=OUTPUTS,
        dynamic_shapes=({0: torch.export.Dim('n')},),
        dynamo=True,
        verbose=False,
    )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {METADATA_KEY: spec.to_json()})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _answers(outputs):
    """Give probabilities and novelty side by side; novelty that is not known is NaN."""
    from scipy.special import softmax

    logits, _, novelty = outputs
    return np.column_stack([softmax(logits, axis=1), novelty])


def _verify(model, path):
    written = OnnxModel(path)
    random = np.random.default_rng(0)
    shape = (len(model.spec.bands), model.spec.size, model.spec.size)
    for n in CHECKED_BATCH_SIZES:
        # Noise of every brightness, with missing pixels: all branches of the stretch.
        images = random.normal(size=(n, *shape)) * np.exp(random.uniform(-3, 5, (n, 1, 1, 1)))
        images[0, 0, 0, 0] = np.nan
        images = images.astype(np.float32)
        expected, came = (_answers(m.run(images)) for m in (model, written))
        difference = np.nanmax(np.abs(expected - came))
        if not difference <= TOLERANCE:
            msg = (
                f'ONNX Runtime differs from PyTorch by {difference:.2g} in a probability, in a '
                f'batch of {n}; the file is not kept; try another version of torch or onnxruntime'
            )
            raise RuntimeError(msg)
