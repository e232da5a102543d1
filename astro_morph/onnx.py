# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a classifier from an ONNX file, and run it without PyTorch."""

import dataclasses
import json
import os

import numpy as np

from astro_morph import prediction, streaming
from astro_morph.cores import n_cores
from astro_morph.prediction import ModelSpec

__all__ = ['Cost', 'OnnxClassifier', 'OnnxModel']

# Keys of the file's metadata under which the model's specification and its cost stand.
SPEC_KEY = 'astro_morph'
COST_KEY = 'astro_morph_cost'

OUTPUTS = ['logits', 'features', 'novelty']

# Names of the standard's own set of operators. All others are code that something else brings.
STANDARD_DOMAINS = {'', 'ai.onnx'}


@dataclasses.dataclass(frozen=True)
class Cost:
    """
    What a file gives up against the model that wrote it, as measured when it was written.

    Parameters
    ----------
    precision : {'float32', 'float16', 'int8'}
        Precision of the encoder.
    views : {1, 4, 8}
        Rotations and reflections that a prediction averages.
    n_galaxies, n_labels : int, optional
        Galaxies that it was measured on, and those of them whose class is known.
    accuracy, accuracy_change : float or None, optional
        Share of right classes, and how much larger it is than that of the model; None where no
        class is known. On galaxies that the model was fitted on it is too good.
    largest_change, mean_change : float or None, optional
        Of the largest difference of a probability that each galaxy has, the largest and the mean;
        None where there were no galaxies.

    Examples
    --------
    >>> from astro_morph.onnx import Cost
    >>> print(Cost('int8', 8, 200, 200, 0.935, -0.005, 0.031, 0.004))
    int8, 8 views: on 200 galaxies a probability changes by 0.031 at most, 0.004 on average; the
    accuracy by -0.5 points to 93.5 %
    """

    precision: str
    views: int
    n_galaxies: int = 0
    n_labels: int = 0
    accuracy: float | None = None
    accuracy_change: float | None = None
    largest_change: float | None = None
    mean_change: float | None = None

    def __str__(self):
        text = f'{self.precision}, {self.views} view{"s"[: self.views > 1]}'
        if self.n_galaxies:
            text += (
                f': on {self.n_galaxies} galaxies a probability changes by '
                f'{self.largest_change:.2g} at most, {self.mean_change:.2g} on average'
            )
        if self.n_labels:
            text += (
                f'; the accuracy by {100 * self.accuracy_change:+.1f} points to '
                f'{100 * self.accuracy:.1f} %'
            )
        return text

    def to_json(self):
        """Write the cost as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        """Read the cost from JSON."""
        return cls(**json.loads(text))


class OnnxModel:
    """
    A model that ONNX Runtime runs.

    It takes a graphics processor where ONNX Runtime finds one that speaks CUDA, else the cores
    that the process may use, and no others.

    Parameters
    ----------
    path : path
        A file that `~astro_morph.MorphologyClassifier.to_onnx` wrote.
    threads : int, optional
        How many threads a run takes; by default one for each core that the process may use.

    Attributes
    ----------
    spec : `~astro_morph.prediction.ModelSpec`
        What the model takes and gives.
    cost : `Cost` or None
        What the file gives up; None if that was not measured.

    Raises
    ------
    ValueError
        If the file is no ONNX model of this package, or needs code or data outside itself. What
        is outside is not looked at.
    """

    def __init__(self, path, *, threads=None):
        proto = _read(path)
        metadata = {item.key: item.value for item in proto.metadata_props}
        self.spec = ModelSpec.from_json(metadata[SPEC_KEY])
        self.cost = Cost.from_json(metadata[COST_KEY]) if COST_KEY in metadata else None
        self._session = _start(proto, threads or n_cores())

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
    cost_ : `~astro_morph.onnx.Cost` or None
        What the file gives up against the classifier that wrote it.

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
    >>> cost = classifier.fit(survey.catalogue).to_onnx(path)
    >>> bool((OnnxClassifier(path, survey).predict(survey.catalogue)
    ...       == classifier.predict(survey.catalogue)).all())
    True
    """

    def __init__(self, path, source='auto'):
        self.source = source
        self.model_ = OnnxModel(path)
        self.classes_ = np.array(self.model_.spec.classes)
        self.cost_ = self.model_.cost

    def __repr__(self):
        return f'<OnnxClassifier: {self.model_.spec}>'

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

    def annotate_file(
        self,
        input,  # noqa: A002
        output,
        *,
        prefix='morph_',
        overwrite=False,
        resume=False,
        verbose=1,
    ):
        """
        Add the predictions to a catalogue in a file, however many rows it has.

        Parameters
        ----------
        input, output, prefix, overwrite, resume
            As for `MorphologyClassifier.annotate_file`.
        verbose : int, optional
            0 for silence.

        Returns
        -------
        counts : `~collections.Counter`
            How many rows have each status, see `~astro_morph.streaming.annotate_file`.
        """
        return streaming.annotate_file(
            self.model_,
            input,
            output,
            source=self.source,
            prefix=prefix,
            overwrite=overwrite,
            resume=resume,
            verbose=bool(verbose),
        )

    def report(self, X, path, y=None, *, label_column='morphology'):
        """
        Compare the predictions with known classes, and write what is found as a web page.

        Parameters
        ----------
        X : object
            Samples as `MorphologyClassifier` takes them; best some that it was not fitted on.
        path : path-like
            The HTML file, which needs nothing but itself; one that is there is replaced.
        y : array_like, shape (n,), optional
            The true classes; by default those of the column ``label_column``.
        label_column : str, optional
            Column of the true classes.

        Returns
        -------
        evaluation : `~astro_morph.evaluation.Evaluation`
            The comparison that the page shows.
        """
        from astro_morph.report import write_report

        return write_report(self.model_, X, path, y, label_column=label_column, source=self.source)


def _read(path):
    """Read a file, and refuse it unless it is one of ours and whole in itself."""
    import onnx

    name = os.fspath(path)
    try:
        # What stands outside the file is not read.
        proto = onnx.load(name, load_external_data=False)
    except FileNotFoundError as error:
        msg = f'there is no file {name!r}; check its name and folder'
        raise FileNotFoundError(msg) from error
    except Exception as error:
        msg = f'{name!r} is not an ONNX file; name one that to_onnx wrote: {error}'
        raise ValueError(msg) from error
    if all(item.key != SPEC_KEY for item in proto.metadata_props):
        msg = (
            f'{name!r} was not written by astro_morph: it lacks its metadata; name one '
            'that to_onnx wrote'
        )
        raise ValueError(msg)
    for part in _parts(proto):
        if isinstance(part, onnx.TensorProto) and _is_outside(part):
            msg = (
                f'{name!r} refers to data in another file, which is not read: a model of '
                'astro_morph is whole in one file; write it again with to_onnx'
            )
            raise ValueError(msg)
        is_operator = isinstance(part, (onnx.NodeProto, onnx.OperatorSetIdProto))
        if is_operator and part.domain not in STANDARD_DOMAINS:
            msg = (
                f'{name!r} has operators of {part.domain!r}, which are not of the ONNX standard '
                'and are not run: no model of astro_morph has such'
            )
            raise ValueError(msg)
    return proto


def _parts(message):
    """Give a message and all that it is made of, however deep."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, 'ListFields') else value:
                yield from _parts(part)


def _is_outside(tensor):
    return len(tensor.external_data) > 0 or tensor.data_location == tensor.EXTERNAL


def _start(proto, threads):
    """Hand a model over to ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads that are counted for it stay, as their process, on the cores that are given to it.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between two batches the cores are wanted to cut out the next galaxies.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    # As bytes, so that what has been looked at is what is run.
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=_providers(onnxruntime)
    )


def _providers(onnxruntime):
    """Choose who computes. Other accelerators than CUDA round more than the file says."""
    cuda = ('CUDAExecutionProvider', {'use_tf32': '0'})
    has_cuda = cuda[0] in onnxruntime.get_available_providers()
    return [cuda, 'CPUExecutionProvider'] if has_cuda else ['CPUExecutionProvider']
