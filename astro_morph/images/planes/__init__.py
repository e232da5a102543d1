# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The planes of an image beside its pixels: their variance, and which of them are masked."""
