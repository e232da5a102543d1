# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Methods that all fitted models share: predict, annotate, evaluate, report, query."""

import numpy as np
from scipy.special import logsumexp

from astro_morph.catalog import read_labels
from astro_morph.catalog.cells import is_blank
from astro_morph.catalog.frames import is_frame
from astro_morph.catalog.numbers import read_numbers
from astro_morph.catalog.vote_tree import VoteTree
from astro_morph.cutouts import as_samples, catalog_of, holds_images
from astro_morph.learning.labels import check_known, has_labels, labels_of, weights_of
from astro_morph.learning.rare import find_positive
from astro_morph.models.calibration import prediction_sets
from astro_morph.models.dirichlet import concentrations, expected_fractions, log_likelihood
from astro_morph.prediction.annotate import annotate
from astro_morph.prediction.framing import reframed
from astro_morph.prediction.predict import predict
from astro_morph.prediction.streaming import annotate_file
from astro_morph.utils.progress import progress_bar

__all__ = ['ClassPredictor', 'Predictor', 'VotePredictor']


class Predictor:
    """
    Mixin that predicts with ``model_``, on cutouts from ``source``.

    A subclass has these two attributes, ``size`` and ``verbose``.
    """

    def annotate(self, table, *, measures=False, embedding=None, prefix='morph_', overwrite=False):
        """
        Add the predictions to a catalogue.

        Parameters
        ----------
        table : Table, SkyCoord, CutoutSet, ndarray, DataFrame or SourceCatalog
            The catalogue, or other samples, see `~astro_morph.catalog.as_table`.
        measures : bool, default=False
            Whether to add the classical measures of `astro_morph.photometry.measure` too.
        embedding : int, default=None
            Number of principal components of the features to add as one column of arrays, such as
            40; none if None. They were fitted to the training galaxies and are kept in the model.
        prefix : str, default='morph_'
            Prefix of the new columns' names.
        overwrite : bool, default=False
            Whether columns of these names may be replaced.

        Returns
        -------
        annotated : `~astropy.table.Table` or DataFrame
            A copy of the same class, length and order with the new columns, masked in the rows
            without an image; a data frame keeps its index. Those of classes are listed in
            `~astro_morph.catalog.write_predictions`. Those of votes are
            ``morph_<question>_<answer>`` and ``morph_<question>_<answer>_std``, the expected
            fraction and its standard deviation, and ``morph_<question>_asked``, the expected
            fraction of people who are asked a question that not all are asked. An embedding is
            ``morph_embedding``, of shape (n, embedding) in half precision, NaN in the rows without
            an image, scaled to a variance of 1 in its first component; its description says how
            much of the variance it holds.

        Raises
        ------
        ValueError
            If columns of these names exist and ``overwrite`` is false, or the model holds fewer
            principal components than ``embedding``.
        """
        frame = table if is_frame(table) else None
        options = {
            'measures': measures,
            'embedding': embedding,
            'prefix': prefix,
            'overwrite': overwrite,
        }
        return self._run(annotate, table, frame=frame, columns=self._columns(), **options)

    def annotate_file(
        self,
        input,  # noqa: A002 - what a user calls it
        output,
        *,
        embedding=None,
        prefix='morph_',
        overwrite=False,
        resume=False,
    ):
        """
        Add the predictions to a catalogue in a file, whatever its number of rows.

        Parameters
        ----------
        input : path-like
            The catalogue: a FITS, Parquet, HDF5, ECSV, VOTable or CSV file, recognised by its
            suffix. Relative image paths in it start from its folder.
        output : path-like
            The file of the annotated catalogue, in any of these formats, written atomically.
        embedding : int, default=None
            As in `annotate`. Parquet and HDF5 hold half precision, FITS and VOTable single; CSV
            holds no arrays.
        prefix : str, default='morph_'
            Prefix of the new columns' names.
        overwrite : bool, default=False
            Whether a file, and columns of these names, may be replaced.
        resume : bool, default=False
            Whether to continue a run that was interrupted.

        Returns
        -------
        counts : `~collections.Counter`
            Number of rows of each status, see `~astro_morph.prediction.streaming.annotate_file`.
        """
        self._check_fitted()
        return annotate_file(
            reframed(self.model_, self.size),
            input,
            output,
            source=self.source,
            columns=self._columns(),
            embedding=embedding,
            prefix=prefix,
            overwrite=overwrite,
            resume=resume,
            verbose=bool(self.verbose),
        )

    def _check_fitted(self):
        """Raise an error if the model is not fitted; a model from a file always is."""

    def _columns(self):
        """Return which columns are written; a model of votes has several kinds."""

    def _check_samples(self, X):
        """Return the samples as the model takes them; trained estimators check them first."""
        return X

    def _run(self, task, X, **options):
        """Run a function such as `predict` on samples, with a progress bar."""
        X = as_samples(self._check_samples(X))
        with progress_bar(len(X), 'predicting', verbose=bool(self.verbose)) as bar:
            return task(reframed(self.model_, self.size), X, source=self.source, bar=bar, **options)


class ClassPredictor(Predictor):
    """
    Mixin of a model of classes.

    A subclass has the attributes ``model_``, ``classes_``, ``source``, ``size``, ``label_column``
    and ``verbose``.
    """

    def predict(self, X):
        """
        Predict the class of each sample.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.

        Returns
        -------
        classes : ndarray, shape (n,)
            The most probable class; a masked array if there are rows without an image, which are
            masked.
        """
        probabilities = self.predict_proba(X)
        classes = self.classes_[np.argmax(probabilities, axis=1)]
        is_missing = np.isnan(probabilities).any(axis=1)
        return np.ma.array(classes, mask=is_missing) if is_missing.any() else classes

    def predict_proba(self, X):
        """
        Predict the probability of each class.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.

        Returns
        -------
        probabilities : ndarray, shape (n, n_classes)
            In the order of ``classes_``; NaN in the rows without an image.
        """
        return self._run(predict, X).probabilities

    def predict_set(self, X, coverage=0.9):
        """
        Predict a set of classes for each sample that holds the true one with a given probability.

        For galaxies like the labelled ones, ``coverage`` is guaranteed on average if the scores
        are those of galaxies held out from the final network, as in a short fine-tuning. Those of a
        linear head are cross-fitted: guaranteed is ``1 - 2 (1 - coverage)`` (Barber et al. 2021,
        Annals of Statistics 49, 486), measured is ``coverage`` within two percent
        (``benchmarks/coverage.py``). Those of a long fine-tuning come from its first part, which
        guarantees nothing; 0.894 were measured for 0.9.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.
        coverage : float, default=0.9
            Fraction of galaxies whose set is to hold the true class, between 0 and 1.

        Returns
        -------
        sets : ndarray of bool, shape (n, n_classes)
            Whether each of ``classes_`` is in the set, see
            `~astro_morph.models.calibration.prediction_sets`. The sets of rows without an image
            are empty, and some others, where the classifier is right more often than ``coverage``.

        Raises
        ------
        ValueError
            If the labels were too few to hold some out.
        """
        probabilities = self.predict_proba(X)
        return prediction_sets(probabilities, self.model_.spec.conformity, coverage=coverage)

    def decision_function(self, X):
        """
        Compute the calibrated logits.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.

        Returns
        -------
        logits : ndarray, shape (n, n_classes), or (n,) for two classes
            Log-probabilities; for two classes the logarithm of the odds of the second.
        """
        with np.errstate(divide='ignore'):
            logits = np.log(self.predict_proba(X))
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def score(self, X, y=None, sample_weight=None):
        """
        Compute the accuracy on the labelled samples that have an image.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.
        y : array_like, shape (n,), default=None
            True labels; those of the column ``label_column`` if None.
        sample_weight : array_like, shape (n,), default=None
            Weight of each sample; equal weights if None.

        Returns
        -------
        accuracy : float
            Fraction of correct classes.

        Raises
        ------
        ValueError
            If no label is a class of the model.

        Warns
        -----
        AstropyUserWarning
            If some labels are not.
        """
        labels, is_labelled = labels_of(X, y, self.label_column)
        check_known(labels[is_labelled], self.classes_)
        predicted = self.predict(X)
        rows = np.flatnonzero(is_labelled & ~np.ma.getmaskarray(predicted))
        is_right = np.asarray(predicted)[rows] == labels[rows]
        return float(np.average(is_right, weights=weights_of(sample_weight, X, rows)))

    def evaluate(self, X, y=None, *, by=None):
        """
        Compare the predictions with known classes.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`, preferably not those of the training.
        y : array_like, shape (n,), default=None
            The true classes; those of the column ``label_column`` if None.
        by : str or sequence of str, default=None
            Columns of the catalogue, such as a magnitude or the survey, by whose bins or kinds the
            evaluation is printed too, see `astro_morph.evaluation.Evaluation.groups`.

        Returns
        -------
        evaluation : `~astro_morph.evaluation.Evaluation`
            Accuracy, calibration, coverage, and more.

        Raises
        ------
        ValueError
            If no label is a class of the model, or the catalogue lacks a column of ``by``.

        Warns
        -----
        AstropyUserWarning
            If some labels are not.
        """
        from astro_morph.evaluation import evaluate

        return evaluate(self, X, y, label_column=self.label_column, by=by)

    def report(self, X, path, y=None, *, by=None, evaluation=None, overwrite=False):
        """
        Compare the predictions with known classes and write the result as a web page.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`, preferably not those of the training.
        path : path-like
            The HTML file, which refers to no other file.
        y : array_like, shape (n,), default=None
            The true classes; those of the column ``label_column`` if None.
        by : str or sequence of str, default=None
            Columns by whose bins or kinds the page shows the evaluation, as in `evaluate`.
        evaluation : `~astro_morph.evaluation.Evaluation`, default=None
            What `evaluate` returned for these samples; predicted if None. The page then has no map
            of the features and no flags.
        overwrite : bool, default=False
            Whether a file of that name may be replaced.

        Returns
        -------
        evaluation : `~astro_morph.evaluation.Evaluation`
            The comparison that the page shows.
        """
        from astro_morph.evaluation.report import write_report

        options = {'path': path, 'y': y, 'label_column': self.label_column}
        options |= {'by': by, 'evaluation': evaluation, 'overwrite': overwrite}
        return self._run(write_report, X, **options)

    def rank(self, X, positive=None):
        """
        Rank the galaxies without a label by the probability of one class.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`; rows with a label are left out, where a table holds labels.
        positive : str, default=None
            The class; the only one beside ``'other'`` if None.

        Returns
        -------
        rows : ndarray of int
            Numbers of the rows with an image, the most probable first.

        Raises
        ------
        ValueError
            If there is no such class, or several if it is None.
        """
        self._check_fitted()
        number = find_positive(positive, self.classes_)
        candidates = self._unlabelled(X)
        predictions = self._run(predict, as_samples(X)[candidates])
        # Of logits, since the highest probabilities are all rounded to 1.
        others = np.delete(predictions.logits.astype(float), number, axis=1)
        score = predictions.logits[:, number] - logsumexp(others, axis=1)
        order = np.argsort(-score, kind='stable')
        return candidates[order[(predictions.status == 'ok')[order]]]

    def query(self, X, n=20, *, criterion='diverse', positive=None):
        """
        Choose the unlabelled galaxies that are most worth a label.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`; rows with a label are left out, where a table holds labels.
        n : int, default=20
            Number of galaxies to choose.
        criterion : {'diverse', 'margin', 'entropy', 'novelty', 'uncertain-positive'}, \
                default='diverse'
            How they are chosen, see `~astro_morph.learning.active.choose`.
        positive : str, default=None
            The class that ``'uncertain-positive'`` doubts; the only one beside ``'other'`` if None.

        Returns
        -------
        rows : ndarray of int
            Row numbers, the most informative first.
        """
        from astro_morph.learning.active import choose

        self._check_fitted()
        doubts_positive = criterion == 'uncertain-positive'
        number = find_positive(positive, self.classes_) if doubts_positive else None
        candidates = self._unlabelled(X)
        predictions = self._run(predict, as_samples(X)[candidates], with_features=True)
        chosen = choose(predictions, n, criterion=criterion, positive=number, random_state=0)
        return candidates[chosen]

    def _unlabelled(self, X):
        """Return the numbers of the rows without a label, of all rows if X has no labels."""
        if not has_labels(X, self.label_column):
            return np.arange(len(X))
        return np.flatnonzero(~read_labels(catalog_of(X), self.label_column)[1])


class VotePredictor(Predictor):
    """
    Mixin of a model of votes.

    A subclass has the attributes ``model_``, ``source``, ``size``, ``voters``, ``columns`` and
    ``verbose``.
    """

    def predict(self, X, return_std=False):
        """
        Predict the fraction of votes for each answer.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.
        return_std : bool, default=False
            Whether to return the uncertainty too.

        Returns
        -------
        fractions : ndarray, shape (n, n_answers)
            Of those who are asked a question, the expected fraction that gives each answer; NaN in
            the rows without an image.
        std : ndarray, shape (n, n_answers)
            With ``return_std``: the standard deviation of the fraction of all people who would
            give the answer. The fraction among a few votes scatters more.
        """
        alpha, _ = self._concentrations(X)
        mean, std = expected_fractions(alpha, self._tree())
        return (mean, std) if return_std else mean

    def score(self, X, y=None, sample_weight=None):
        """
        Compute the mean log-likelihood of the votes of galaxies that have votes and an image.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.
        y : array_like, shape (n, n_answers), default=None
            The votes; those of the columns of the tree if None.
        sample_weight : array_like, shape (n,), default=None
            Weight of each sample; equal weights if None.

        Returns
        -------
        log_likelihood : float
            Natural logarithm of the Dirichlet-multinomial likelihood of all questions.
        """
        alpha, status = self._concentrations(X)
        tree = self._tree()
        counts = read_votes(self, X, y, tree)
        rows = (status == 'ok') & counts.any(axis=1)
        refuse_no_votes(rows)
        of_galaxy = log_likelihood(counts[rows], alpha[rows], tree).sum(axis=1)
        weight = weights_of(sample_weight, X, np.flatnonzero(rows))
        return float(np.average(of_galaxy, weights=weight))

    def _columns(self):
        return self.columns

    def _tree(self):
        return VoteTree(self.model_.spec.tree)

    def _concentrations(self, X):
        """Return concentrations, NaN in the rows without an image, and the status."""
        predictions = self._run(predict, X)
        return concentrations(predictions.logits), predictions.status


def read_votes(estimator, X, y, tree):
    """
    Read the votes for each answer, an ndarray of shape (n, n_answers), from y or the catalogue.

    ``estimator.voters`` says how many people looked at a galaxy, where votes are fractions.
    """
    table = catalog_of(X) if holds_images(X) else None
    voters = estimator.voters
    if table is None and y is None:
        msg = (
            f'{type(estimator).__name__} requires y to be passed, but the target y is None: X is '
            'no table that could hold the votes'
        )
        raise ValueError(msg)
    if table is None and isinstance(voters, str):
        msg = f'voters is the column {voters!r}, but X is no table, expected voters to be a number'
        raise ValueError(msg)
    if y is None:
        values = read_numbers(table, tree.columns, 'tree')
    else:
        values = np.ma.asarray(y, object)
        is_none = np.ma.getmaskarray(values) | np.vectorize(is_blank, otypes=[bool])(values.data)
        values = np.where(is_none, np.nan, values.data).astype(float)
    if len(values) != len(X):
        msg = f'y has {len(values)} rows, X has {len(X)}; pass the votes of each row of X'
        raise ValueError(msg)
    if isinstance(voters, str):
        voters = read_numbers(table, [voters], 'voters')[:, 0]
    return tree.counts(values, voters=voters)


def refuse_no_votes(rows, *, of=''):
    """Raise a ValueError unless some of the rows have votes."""
    if not np.any(rows):
        msg = f'none{of} has any votes; check the columns that tree names, and voters'
        raise ValueError(msg)
