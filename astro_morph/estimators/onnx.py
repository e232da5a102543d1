# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""OnnxClassifier: the classifier without PyTorch."""

import numpy as np

from astro_morph.models.onnx_model import OnnxModel
from astro_morph.prediction import annotate, streaming
from astro_morph.prediction import predict as prediction

__all__ = ['OnnxClassifier']


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
    cost_ : `~astro_morph.models.onnx_model.Cost` or None
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
            Whether to add the classical measures of `astro_morph.photometry.measure` too.
        prefix : str, optional
            What the names of the new columns begin with.
        overwrite : bool, optional
            Whether columns of these names may be replaced.

        Returns
        -------
        annotated : `~astropy.table.Table`
            A copy of the same class, length and order, with the new columns.
        """
        return annotate.annotate(
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
            How many rows have each status, see `~astro_morph.prediction.streaming.annotate_file`.
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
        from astro_morph.evaluation.report import write_report

        return write_report(self.model_, X, path, y, label_column=label_column, source=self.source)
