# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Names of published encoders: a scheme and a place, such as ``'hf-hub:owner/name'``."""

__all__ = ['SCHEMES', 'split_name']

#: What a name may begin with, and what follows.
SCHEMES = {
    'hf-hub': 'a repository on huggingface.co',
    'local-dir': 'a folder with config.json and weights, as such a repository has them',
    'timm': 'weights of timm, such as convnext_nano.in12k',
}


def split_name(name):
    """
    Split the name of a published encoder into its scheme and its place.

    Parameters
    ----------
    name : object
        The name.

    Returns
    -------
    parts : tuple of str or None
        The scheme, one of ``SCHEMES``, and the place; None if it is no such name.

    Raises
    ------
    ValueError
        If nothing follows the scheme.

    Examples
    --------
    >>> from astro_morph.models.encoders.names import split_name
    >>> split_name('hf-hub:mwalmsley/zoobot-encoder-convnext_nano')
    ('hf-hub', 'mwalmsley/zoobot-encoder-convnext_nano')
    >>> split_name('encoder.pt')
    """
    scheme, _, place = str(name).partition(':')
    # timm takes both spellings.
    scheme = scheme.lower().replace('_', '-')
    if scheme not in SCHEMES or scheme == str(name):
        return None
    if not place:
        msg = f'{name!r} names no encoder; pass {scheme}: and {SCHEMES[scheme]}'
        raise ValueError(msg)
    return scheme, place
