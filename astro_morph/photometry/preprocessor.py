# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The Preprocessor, a scikit-learn transformer that cleans cutouts."""

from numbers import Real

import astropy.units as u
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions

from astro_morph.cutouts import as_cutouts
from astro_morph.photometry.cleaning import Cleaner

__all__ = ['Preprocessor']


class Preprocessor(TransformerMixin, BaseEstimator):
    """
    Clean cutouts of galaxies: fill defects, subtract the sky, remove neighbours.

    Small groups of missing or masked pixels and cosmic rays are filled. The sky is measured and
    subtracted; its noise is taken from the variance of the cutouts if they have one.
    Neighbours are replaced by noise, with a random seed that depends only on the image, so that
    the same image always gives the same result. Optionally, galaxies are recentred, rotated and
    rescaled. Whatever is found is flagged, see `astro_morph.decode_flags`.

    Each image is cleaned by itself, so there is nothing to fit. In pictures, which are not linear
    in flux, only missing pixels are filled.

    Parameters
    ----------
    neighbours : {'detached', 'all'} or None, default='detached'
        Which other sources to replace by noise or, where they overlap the galaxy, by the light on
        its opposite side. ``'detached'`` are sources for which the light between them and the
        galaxy falls to 0.4 of their peak: mergers seldom lose a component, and spirals hardly ever
        an arm. ``'all'`` raises this to 0.8, which removes more foreground stars, but separates
        half of all mergers.
    recentre : float, default=None
        Largest distance in pixels by which a galaxy is moved to the centre; None moves none.
    rotate : bool, default=False
        Whether to rotate the major axis to the x axis.
    scale : str, default=None
        Radius that is scaled to 0.3 of the side: ``'kron'``, ``'petrosian'``, or a column of the
        table with angles (in arcsec if it has no unit). None keeps the pixel scale.
    psf_fwhm : sequence of float, default=None
        Full width at half maximum of the point-spread function in arcsec, one per band. All bands
        are convolved to the widest one (`photutils.psf_matching.make_kernel`); None does not
        convolve.
    saturation : float, default=None
        Flux from which a pixel is flagged as saturated. By default, pixels are saturated if
        several pixels of a bright core share the highest value.
    half_light : str, default=None
        A column of the table with half-light radii (in arcsec if it has no unit). They tell the
        sky from the outskirts of galaxies that fill their cutouts: without them, it is more often
        uncertain.

    See Also
    --------
    astro_morph.plotting.preprocessing : Draw cutouts before and after cleaning.

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
        'half_light': [str, None],
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
        half_light=None,
    ):
        self.neighbours = neighbours
        self.recentre = recentre
        self.rotate = rotate
        self.scale = scale
        self.psf_fwhm = psf_fwhm
        self.saturation = saturation
        self.half_light = half_light

    def fit(self, X=None, y=None):
        """
        Validate the parameters; there is nothing to fit.

        Parameters
        ----------
        X, y : object, default=None
            Ignored.

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
            The cutouts, or images of shape (n, band, y, x).

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            The same rows in the same order, with flags added.

        Raises
        ------
        ValueError
            If X are not cutouts, or a setting does not apply to them.
        """
        return self._cleaner().clean(as_cutouts(X))

    def segment(self, X):
        """
        Segment cutouts into galaxy, neighbours and sky, as `transform` does.

        Parameters
        ----------
        X : `~astro_morph.CutoutSet` or ndarray
            Cutouts in flux, or images of shape (n, band, y, x).

        Returns
        -------
        segments : ndarray of int, shape (n, y, x)
            0 for sky, 1 for the galaxy, 2 and more for its neighbours; all zero without a galaxy
            at the centre, or without an image.
        """
        return self._cleaner().segment(as_cutouts(X))

    def settings(self):
        """
        Return the parameters as plain values that JSON can store.

        Returns
        -------
        settings : dict
            The parameters: ``Preprocessor(**settings)`` is the same preprocessor.
        """
        parameters = self.get_params()
        if self.psf_fwhm is not None:
            parameters['psf_fwhm'] = u.Quantity(self.psf_fwhm, u.arcsec).value.tolist()
        for name in ('recentre', 'saturation'):
            if parameters[name] is not None:
                parameters[name] = float(parameters[name])
        return parameters

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        # Of the checks of scikit-learn, only those without data apply: images have four axes.
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        return tags

    def _cleaner(self):
        self._validate_params()
        return Cleaner(**self.get_params())
