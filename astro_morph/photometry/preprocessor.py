# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The clean-up of cutouts, as a transformer of scikit-learn."""

from numbers import Real

import astropy.units as u
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions

from astro_morph.cutouts import as_cutouts
from astro_morph.photometry.cleaning import Cleaner

__all__ = ['Preprocessor']


class Preprocessor(TransformerMixin, BaseEstimator):
    """
    Clean cutouts of galaxies: defects, sky, neighbours and frame.

    Missing pixels and those hit by cosmic rays are filled where they are few. The sky is measured
    and subtracted. Other sources are replaced by noise, from a seed that depends on the image
    alone: the same image always gives the same result. On demand the galaxy is moved to the
    centre, turned and scaled. What is found is flagged, see `astro_morph.decode_flags`.

    Each image is measured by itself: there is nothing to fit. Of pictures, which are not linear in
    flux, only missing pixels are filled.

    Parameters
    ----------
    neighbours : {'detached', 'all', None}, optional
        Which other sources are replaced by the noise of the sky, or, where they hide the galaxy,
        by what is opposite to them. ``'detached'`` are those between which and the galaxy the
        light falls to 0.4 of their peak: few mergers lose a partner and hardly a spiral an arm.
        ``'all'`` takes 0.8: it takes more stars off galaxies, and half of all mergers apart.
    recentre : float, optional
        The largest distance in pixels by which a galaxy is moved to the centre; by default none
        is moved.
    rotate : bool, optional
        Whether to turn the major axis to the x axis.
    scale : str, optional
        Radius that is brought to 0.3 of the side: ``'kron'``, ``'petrosian'``, or a column of the
        table that holds angles (arcsec where it has no unit). By default the scale stays.
    psf_fwhm : sequence of float, optional
        Full width at half maximum of the point-spread function in arcsec, one a band: all bands
        are brought to the widest (`photutils.psf_matching.make_kernel`).
    saturation : float, optional
        Value from which a pixel is flagged as saturated; by default where several pixels of a
        bright core share the highest value.

    See Also
    --------
    astro_morph.plotting.preprocessing : Draws cutouts before and after.

    Examples
    --------
    >>> from astro_morph import decode_flags
    >>> from astro_morph.photometry.preprocessor import Preprocessor
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4, random_state=1)
    >>> cutouts = survey.fetch(survey.catalogue)
    >>> clean = Preprocessor().fit_transform(cutouts)
    >>> clean
    <CutoutSet: 4 cutouts of 3 bands (g, r, i), 64 x 64 pixels of 0.396 arcsec,
     flux, 0 without image>
    >>> decode_flags(clean.flags)[0]
    ['neighbour_removed']
    """

    _parameter_constraints = {
        'neighbours': [StrOptions({'detached', 'all'}), None],
        'recentre': [Interval(Real, 0, None, closed='neither'), None],
        'rotate': ['boolean'],
        'scale': [str, None],
        'psf_fwhm': ['array-like', None],
        'saturation': [Real, None],
    }

    def __init__(
        self,
        *,
        neighbours='detached',
        recentre=None,
        rotate=False,
        scale=None,
        psf_fwhm=None,
        saturation=None,
    ):
        self.neighbours = neighbours
        self.recentre = recentre
        self.rotate = rotate
        self.scale = scale
        self.psf_fwhm = psf_fwhm
        self.saturation = saturation

    def fit(self, X=None, y=None):
        """
        Do nothing but look at the settings.

        Parameters
        ----------
        X, y : object
            Not used.

        Returns
        -------
        self : Preprocessor
            The preprocessor.
        """
        self._validate_params()
        return self

    def transform(self, X):
        """
        Clean cutouts.

        Parameters
        ----------
        X : `~astro_morph.CutoutSet` or ndarray
            The cutouts, or images (n, band, y, x).

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            The same rows in the same order, with flags added.

        Raises
        ------
        ValueError
            If a setting does not fit the cutouts.
        """
        return self._cleaner().clean(as_cutouts(X))

    def segment(self, X):
        """
        Tell galaxy, neighbours and sky apart, as `transform` does.

        Parameters
        ----------
        X : `~astro_morph.CutoutSet` or ndarray
            Cutouts in flux.

        Returns
        -------
        segments : ndarray of int, shape (n, y, x)
            0 for sky, 1 for the galaxy, 2 and more for the others; all zero without a galaxy at
            the centre, or without an image.
        """
        return self._cleaner().segment(as_cutouts(X))

    def settings(self):
        """
        Give the parameters as plain values, which JSON can hold.

        Returns
        -------
        settings : dict
            What makes the same preprocessor again: ``Preprocessor(**settings)``.
        """
        parameters = self.get_params()
        if self.psf_fwhm is not None:
            parameters['psf_fwhm'] = u.Quantity(self.psf_fwhm, u.arcsec).value.tolist()
        for name in ('recentre', 'saturation'):
            if parameters[name] is not None:
                parameters[name] = float(parameters[name])
        return parameters

    def __sklearn_is_fitted__(self):
        return True

    def _cleaner(self):
        self._validate_params()
        return Cleaner(**self.get_params())
