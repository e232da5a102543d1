# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Archives that have no client in astroquery, which are sent plain HTTP requests."""
